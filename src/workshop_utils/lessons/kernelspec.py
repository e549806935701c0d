"""A kernel and a panel for a JupyterLab that was there before: the one that Open OnDemand starts.

That JupyterLab has its own Python, which only looks into the reader's Jupyter folders. So they get a kernel
specification that starts this environment's Python, a link to the panel, and, for the server's half of the
panel, a folder of links that ``jupyter_config.py`` appends to the module path: Jupyter loads that file before
any file given with ``--config`` (``jupyter_core.application.JupyterApp.load_config_file``).
"""

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.caches import VARIABLES, cache_variables
from workshop_utils.lessons.config_block import remove_block, write_block
from workshop_utils.storage import FOLDER_NAME, cache_folder, require_writable

DISPLAY_NAME = "Multi-GPU LLM workshop"
PANEL = "workshop-monitor"
# Where an environment keeps its panel; a link that leads to such a place is one of ours.
PANEL_IN_ENVIRONMENT = Path("share", "jupyter", "labextensions", PANEL)
# A name that nothing else has: FOLDER_NAME is the reader's cache, notebooks or environment where
# JUPYTER_DATA_DIR is their scratch or their home.
IMPORTS = "workshop-monitor-imports"
# What the server's half of the panel imports. Nothing else of this environment may reach the other Python.
LINKED = ("workshop_monitor", "workshop_utils", "pynvml")
FREE_SPACE = "free some space in your home, or set JUPYTER_DATA_DIR and JUPYTER_CONFIG_DIR"


@dataclass(frozen=True)
class Places:
    """Every file and folder that install writes and remove takes away."""

    kernel: Path
    panel: Path
    links: Path
    enabled: Path
    config: Path


def places() -> Places:
    """Return the places in the reader's Jupyter folders; JUPYTER_DATA_DIR and JUPYTER_CONFIG_DIR count."""
    data, config = Path(jupyter_data_dir()), Path(jupyter_config_dir())
    return Places(
        kernel=data / "kernels" / FOLDER_NAME,
        panel=data / "labextensions" / PANEL,
        links=data / IMPORTS,
        enabled=config / "jupyter_server_config.d" / "workshop_monitor.json",
        config=config / "jupyter_config.py",
    )


def kernel_environment() -> dict[str, str]:
    """Return the variables of the kernel: caches off the home quota, commands found, srun usable."""
    moved = cache_variables()
    # A session that Open OnDemand starts does not read what the reader exported in this shell.
    chosen = {
        name: os.environ[name] for name in (*VARIABLES, "HF_HOME", "WORKSHOP_SHARED") if os.environ.get(name)
    }
    commands = Path(sys.executable).parent
    folders = {**moved, **chosen, "WORKSHOP_CACHE": str(cache_folder())}
    return {
        **{name: literal(folder) for name, folder in folders.items()},
        # ${PATH} is filled in when the kernel starts (jupyter_client's kernel specifications).
        "PATH": f"{literal(str(commands))}{os.pathsep}${{PATH}}",
        # Open OnDemand submits with --export=NONE, and then srun from a notebook finds no command.
        "SLURM_EXPORT_ENV": "ALL",
    }


def literal(text: str) -> str:
    """Return the text so that Jupyter, which fills in ``$NAME`` when a kernel starts, leaves it as it is."""
    return text.replace("$", "$$")


def kernel_folder() -> Path:
    """Return the kernel's folder; ``WorkshopError`` where somebody put a link in its place."""
    folder = places().kernel
    if folder.is_symlink():
        raise WorkshopError(f"{folder} is a link and none of ours; move it away and try again.")
    return folder


def install_kernel() -> Path:
    """Write the kernel specification and return its folder; ``WorkshopError`` when that fails."""
    folder = kernel_folder()
    require_writable(folder, FREE_SPACE)
    specification = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": DISPLAY_NAME,
        "language": "python",
        "env": kernel_environment(),
        "metadata": {"debugger": True},
    }
    write_json(folder / "kernel.json", specification)
    return folder


def install_panel() -> None:
    """Link the panel and its server half into the reader's Jupyter folders, and enable it.

    Raises ``WorkshopError`` when this environment has no panel, or where the folders cannot be written.
    """
    built = Path(sys.prefix) / PANEL_IN_ENVIRONMENT
    if not (built / "package.json").is_file():
        raise WorkshopError(f"the panel is not in {built}; install the workshop again with `make lab`.")
    target = places()
    for folder in (target.panel.parent, target.links, target.enabled.parent):
        require_writable(folder, FREE_SPACE)
    link(target.panel, built, PANEL_IN_ENVIRONMENT)
    for name in LINKED:
        source = module_path(name)
        link(target.links / source.name, source, Path(source.name))
    write_block(target.config, path_lines(target.links))
    write_json(target.enabled, {"ServerApp": {"jpserver_extensions": {"workshop_monitor": True}}})


def path_lines(folder: Path) -> list[str]:
    """Return what ``jupyter_config.py`` runs: append, so that nothing of the other Python is hidden."""
    return [
        "import sys",
        "",
        f"if {str(folder)!r} not in sys.path:",
        f"    sys.path.append({str(folder)!r})",
    ]


def module_path(name: str) -> Path:
    """Return the folder of a package, or the file of a module."""
    specification = importlib.util.find_spec(name)
    if specification is None or specification.origin is None:
        raise WorkshopError(f"{name} is missing in {sys.prefix}; install the workshop again with `make lab`.")
    origin = Path(specification.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def link(place: Path, source: Path, ending: Path) -> None:
    """Let ``place`` lead to ``source``; a link to another ``…/ending`` is an older one of ours and replaced.

    Raises ``WorkshopError`` for anything else that is there.
    """
    if is_ours(place, ending):
        place.unlink()
    elif os.path.lexists(place):
        raise WorkshopError(f"{place} is there already and no link of ours; move it away and try again.")
    place.symlink_to(source)


def is_ours(place: Path, ending: Path) -> bool:
    """Say whether this is a link that leads to ``…/ending``, in whichever install, gone ones included."""
    return place.is_symlink() and place.readlink().match(str(ending))


def write_json(file: Path, content: Mapping[str, object]) -> None:
    """Replace the file in one step."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    new.replace(file)


def remove_panel() -> list[Path]:
    """Take the panel away again and return what was there; what is not ours stays."""
    target = places()
    # First, because it is what may refuse.
    present = [target.config] if remove_block(target.config) else []
    if is_ours(target.panel, PANEL_IN_ENVIRONMENT):
        target.panel.unlink()
        present.append(target.panel)
    if target.enabled.is_file():
        target.enabled.unlink()
        present.append(target.enabled)
    if remove_links(target.links):
        present.append(target.links)
    return present


def remove_links(folder: Path) -> bool:
    """Take our links out of their folder, and the folder where it is empty then; say if there was one."""
    names = [Path(name + ending) for name in LINKED for ending in ("", ".py")]
    ours = [folder / name for name in names if is_ours(folder / name, name)]
    # Python keeps the compiled module beside the link.
    compiled = list((folder / "__pycache__").glob("pynvml.*.pyc"))
    for path in (*ours, *compiled):
        path.unlink()
    for emptied in (folder / "__pycache__", folder):
        with contextlib.suppress(OSError):
            emptied.rmdir()
    return bool(ours)


def remove_kernel() -> list[Path]:
    """Take the kernel specification away again and return its folder where it was there."""
    folder = kernel_folder()
    if not (folder / "kernel.json").is_file():
        return []
    (folder / "kernel.json").unlink()
    with contextlib.suppress(OSError):  # the reader put something else there
        folder.rmdir()
    return [folder]
