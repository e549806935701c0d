"""Preflight of what is written and found: home, caches, the small model, kernel and panel."""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.caches import VARIABLES, cache_variables
from workshop_utils.lessons.doctor import FAILED, OK, WARNING, Check
from workshop_utils.models.small_model import find_small_model
from workshop_utils.models.small_model_source import SMOLLM2
from workshop_utils.storage import (
    SET_CACHE,
    FreeSpace,
    cache_folder,
    free_space,
    require_writable,
    scratch_folder,
)
from workshop_utils.units import format_gb

LABEXTENSION = "workshop-monitor"
SERVER_EXTENSION = "workshop_monitor"


def describe(space: FreeSpace) -> str:
    """Return the free space with what limits it, as ``83.1 GB free (disk)``."""
    limit = "disk" if space.bound_by == "disk" else f"your quota, says {space.bound_by}"
    return f"{format_gb(space.free_bytes)} free ({limit})"


def why_not_writable(folder: Path) -> str:
    """Return the system's words, or nothing where the folder can be written."""
    try:
        require_writable(folder)
    except WorkshopError as error:
        return getattr(error.__cause__, "strerror", None) or str(error)
    return ""


def check_home() -> Check:
    """Jupyter keeps its keys and connection files in the home, whose quota is the first to be full."""
    from jupyter_core.paths import jupyter_runtime_dir

    home = Path.home()
    runtime = Path(jupyter_runtime_dir())
    reason = why_not_writable(runtime)
    if reason:
        next_step = "free space in your home, or set JUPYTER_RUNTIME_DIR: no kernel starts without."
        return Check("home", FAILED, f"{runtime} cannot be written ({reason})", next_step)
    return Check("home", OK, f"{home}: {describe(free_space(home))}")


def check_cache() -> Check:
    """Where the model and large files go, and whether there is room."""
    folder = cache_folder()
    why = (
        "WORKSHOP_CACHE" if os.environ.get("WORKSHOP_CACHE") else "scratch" if scratch_folder() else "default"
    )
    reason = why_not_writable(folder)
    if reason:
        return Check("cache folder", FAILED, f"{folder} cannot be written ({reason})", f"{SET_CACHE}.")
    return Check("cache folder", OK, f"{folder} ({why}): {describe(free_space(folder))}")


def check_library_caches() -> Check:
    """Which libraries would fill the home, although there is a better place."""
    home = Path.home()
    at_home = [name for name in VARIABLES if Path(os.environ.get(name) or "/").is_relative_to(home)]
    cache_is_elsewhere = not cache_folder().is_relative_to(home)
    filling = sorted({*cache_variables(), *(at_home if cache_is_elsewhere else ())})
    if filling:
        return Check(
            "library caches",
            WARNING,
            f"would go to your home: {', '.join(filling)}",
            f"open the workshop with `workshop lab`, or set them to folders below {cache_folder()}.",
        )
    where = cache_folder() if cache_is_elsewhere else f"{home}, where the cache folder is too"
    return Check("library caches", OK, f"Hugging Face, torch, Triton, CUDA and pip write to {where}")


def check_small_model() -> Check:
    """Whether the model of the notebooks is prepared."""
    folder = find_small_model()
    if folder is None:
        return Check(
            "small model",
            WARNING,
            f"{SMOLLM2.name} is not prepared",
            "run `workshop model prepare` where there is network (it takes half a minute).",
        )
    return Check("small model", OK, str(folder))


def check_kernel() -> Check:
    """Whether a notebook that asks for ``python3`` gets this environment."""
    if importlib.util.find_spec("ipykernel") is None:
        return Check("kernel", FAILED, "ipykernel is missing in this environment", "pip install ipykernel")
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Check("kernel", FAILED, "Jupyter finds no kernel python3", "run `workshop kernel install`.")
    # Jupyter puts its own interpreter where a kernel says only "python".
    program = spec.argv[0]
    bare = program in {"python", "python3", f"python3.{sys.version_info.minor}"}
    found = sys.executable if bare else shutil.which(program)
    if found is None or Path(found).absolute() != Path(sys.executable).absolute():
        return Check(
            "kernel",
            WARNING,
            f"the kernel python3 in {spec.resource_dir} starts {program}, not this environment",
            "open the workshop with `workshop lab`, or run `workshop kernel install`.",
        )
    return Check("kernel", OK, f"python3 starts {sys.executable}")


def check_panel() -> Check:
    """Whether JupyterLab finds the panel, and its server the extension that feeds it."""
    from jupyter_core.paths import jupyter_config_path, jupyter_path

    front = next((p for p in map(Path, jupyter_path("labextensions", LABEXTENSION)) if p.is_dir()), None)
    configurations = [
        file
        for folder in jupyter_config_path()
        for file in sorted(Path(folder, "jupyter_server_config.d").glob("*.json"))
    ]
    enabled = any(enables_server_extension(file) for file in configurations)
    missing = [
        words
        for words, there in (
            (f"the labextension {LABEXTENSION}", front is not None),
            (f"the server extension {SERVER_EXTENSION}", enabled),
            (f"the package {SERVER_EXTENSION}", importlib.util.find_spec(SERVER_EXTENSION) is not None),
        )
        if not there
    ]
    if missing:
        return Check(
            "panel",
            WARNING,
            f"Jupyter does not find {' and '.join(missing)}",
            "run `workshop kernel install`.",
        )
    return Check("panel", OK, f"{front}, and its server extension")


def enables_server_extension(file: Path) -> bool:
    """Say whether a Jupyter configuration file switches our server extension on."""
    try:
        extensions = json.loads(file.read_text(encoding="utf-8"))["ServerApp"]["jpserver_extensions"]
        return extensions.get(SERVER_EXTENSION) is True
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


CHECKS: tuple[tuple[str, Callable[[], Check]], ...] = (
    ("home", check_home),
    ("cache folder", check_cache),
    ("library caches", check_library_caches),
    ("small model", check_small_model),
    ("kernel", check_kernel),
    ("panel", check_panel),
)
