"""The virtual environment: made once, known by a stamp of what it was made from, repaired when half-made."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.bootstrap_place import CHECKOUT, LINK
from workshop_utils.bootstrap_steps import run_step
from workshop_utils.bootstrap_torch import (
    DEFAULT,
    check_choice,
    install_commands,
    site_constraints,
    site_torch,
)
from workshop_utils.errors import WorkshopError
from workshop_utils.storage import cache_folder, require_space, require_writable

CONSTRAINTS = CHECKOUT / "constraints.txt"
FRONT_END = CHECKOUT / "jupyter_extension"
LABEXTENSION = FRONT_END / "workshop_monitor" / "labextension"
FRONT_END_FILES = ("package.json", "yarn.lock", ".yarnrc.yml", "tsconfig.json", "install.json")
FRONT_END_FOLDERS = ("src", "style")
# The environment of constraints.txt with PyTorch's CPU build measures 1.5 GB (du; 0.5 GB without torch);
# pip's copies come on top. For a CUDA build this is an allowance: nobody has measured one here.
NEEDED_BYTES = {"cpu": 3 * 10**9, "site": 2 * 10**9}
NEEDED_BYTES_CUDA = 9 * 10**9
SET_VENV = "set WORKSHOP_VENV to a folder that you may write and that has room"


@dataclass(frozen=True)
class Environment:
    """One virtual environment and the stamp file in it."""

    folder: Path

    def command(self, name: str) -> Path:
        """Return the path of one of its commands."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / name

    @property
    def stamp_file(self) -> Path:
        """Its presence says that the environment is ours; its content, what it was made from."""
        return self.folder / "workshop-environment.json"

    def stamp(self) -> dict[str, object]:
        """Return what it was made from; empty when it is not there, not ours or half-made."""
        try:
            content = json.loads(self.stamp_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        complete = self.command("workshop").exists() and self.command("python").exists()
        return content if complete and isinstance(content, dict) else {}

    def write_stamp(self, content: dict[str, object]) -> None:
        """Replace the stamp in one step, so that a kill leaves the old or the new one."""
        new = self.stamp_file.with_suffix(".new")
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(self.stamp_file)


def prepare(folder: Path, torch: str, extras: frozenset[str]) -> Environment:
    """Make the environment or bring it up to date; return at once when its stamp says it is.

    ``torch`` is one of ``CHOICES``; empty keeps the build that is there, or takes the default for a new one.
    Raises ``WorkshopError`` when that cannot be done; an environment that was whole before stays whole, one
    that was not is taken away again.
    """
    environment = Environment(folder)
    old = environment.stamp()
    torch = torch or str(old.get("torch", DEFAULT))
    check_choice(torch)
    # What an earlier `make test` added stays: readers would otherwise install it again and again.
    known = old.get("extras")
    names = sorted(extras | frozenset(known if isinstance(known, list) else ()))
    wanted: dict[str, object] = {
        "sources": digest(installed_from(), CHECKOUT),
        "torch": torch,
        "extras": names,
    }
    if old == wanted:
        return environment
    check_surroundings(environment, torch)
    with under_construction(environment, keep=bool(old) and old.get("torch") == torch):
        build(
            environment, torch, ["--editable", f"{CHECKOUT}[{','.join(names)}]" if names else str(CHECKOUT)]
        )
        environment.write_stamp(wanted)
    return environment


def installed_from() -> list[Path]:
    """Return the files whose change makes another install necessary."""
    return [CHECKOUT / "pyproject.toml", CONSTRAINTS, *front_end_files()]


def front_end_files() -> list[Path]:
    """Return the panel's sources."""
    below = [path for name in FRONT_END_FOLDERS for path in (FRONT_END / name).rglob("*") if path.is_file()]
    return [path for path in (FRONT_END / name for name in FRONT_END_FILES) if path.is_file()] + below


def digest(files: Iterable[Path], root: Path) -> str:
    """Return one SHA-256 over names and contents, whatever the order of the files."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(f"{file.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def check_surroundings(environment: Environment, torch: str) -> None:
    """Raise ``WorkshopError`` for what would fail late: no venv module, no room, a foreign folder."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        raise WorkshopError(
            f"{sys.executable} comes without the venv module; install it (Debian and Ubuntu: apt install "
            f"python{sys.version_info[0]}.{sys.version_info[1]}-venv) or name another Python with PYTHON=."
        ) from error
    folder = environment.folder
    foreign = folder.is_dir() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file()
    if foreign and not environment.stamp_file.is_file():
        raise WorkshopError(f"{folder} holds other files; set WORKSHOP_VENV to a new folder or remove it.")
    require_writable(folder.parent, SET_VENV)
    require_writable(CHECKOUT, "clone into a folder that you may write")
    require_writable(cache_folder())  # the model goes there, minutes from now
    if not folder.is_dir():
        require_space(folder, NEEDED_BYTES.get(torch, NEEDED_BYTES_CUDA), SET_VENV)


@contextmanager
def under_construction(environment: Environment, keep: bool) -> Iterator[None]:
    """Mark the environment as half-made while the block runs, so that the next start repairs a killed one.

    With ``keep`` the block changes an environment that is whole, and a failure gives it back its stamp;
    otherwise what is left of an earlier start goes first, and a failure leaves nothing. An environment that
    somebody made by hand is completed, never removed.
    """
    folder, stamp = environment.folder, environment.stamp_file
    if (folder / "pyvenv.cfg").is_file() and not stamp.is_file():
        yield
        return
    before = stamp.read_text(encoding="utf-8") if keep else ""
    if not keep and stamp.is_file():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    environment.write_stamp({})
    try:
        yield
    except WorkshopError:
        if keep:
            stamp.write_text(before, encoding="utf-8")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def build(environment: Environment, torch: str, requirement: list[str]) -> None:
    """Make the virtual environment and install into it; the log beside it stays only when that fails."""
    folder = environment.folder
    log = folder.with_name(f"{folder.name}-install.log")
    log.unlink(missing_ok=True)
    variables = {**os.environ, "PIP_PROGRESS_BAR": "off"}  # the step's own line shows what is going on
    words = ["--system-site-packages"] if torch == "site" else []
    if not words:
        # A loaded module's packages would count as installed here.
        variables.pop("PYTHONPATH", None)
    run_step("making the environment", [sys.executable, "-m", "venv", *words, str(folder)], log, variables)
    python = environment.command("python")
    constraints = CONSTRAINTS
    if torch == "site":
        log.unlink()
        version, cuda = site_torch(python)
        print(f"the centre's torch {version}, CUDA {cuda or 'none'}", file=sys.stderr)
        constraints = folder / "site-constraints.txt"
        constraints.write_text(
            site_constraints(CONSTRAINTS.read_text(encoding="utf-8"), version), encoding="utf-8"
        )
    # Read by the pip that builds the panel inside pip: PIP_CONSTRAINT before pip 25.3, the other since. As an
    # address, because pip takes a space in these variables for the end of a name.
    variables |= {"PIP_CONSTRAINT": constraints.as_uri(), "PIP_BUILD_CONSTRAINT": constraints.as_uri()}
    drop_stale_panel()
    for title, command in install_commands(torch, python, constraints, requirement):
        run_step(title, command, log, variables)
    (LABEXTENSION / "sources.sha256").write_text(digest(front_end_files(), CHECKOUT), encoding="utf-8")
    log.unlink()


def drop_stale_panel() -> None:
    """Remove a built panel that is older than its sources: the build hook would ship it as it is."""
    try:
        built_from = (LABEXTENSION / "sources.sha256").read_text(encoding="utf-8")
    except OSError:
        built_from = ""
    if LABEXTENSION.is_dir() and built_from != digest(front_end_files(), CHECKOUT):
        shutil.rmtree(LABEXTENSION)


def remove(environment: Environment) -> None:
    """Remove the environment and the built panel; ``WorkshopError`` where the folder is not ours."""
    folder = environment.folder
    if folder.is_dir():
        if not environment.stamp_file.is_file():
            raise WorkshopError(f"{folder} was not made by `make lab`; remove it yourself if it may go.")
        shutil.rmtree(folder)
    if LINK.is_symlink():
        LINK.unlink()
    shutil.rmtree(LABEXTENSION, ignore_errors=True)
