"""Preflight of what runs: Python, torch, GPUs and driver, the job, the tier."""

import importlib.util
import os
import platform
import runpy
import site
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from workshop_utils.hardware.machine import Machine, find_machine
from workshop_utils.lessons.doctor import FAILED, OK, WARNING, Check
from workshop_utils.monitor.host import Host
from workshop_utils.units import format_gib

OLDEST_PYTHON = (3, 11)


def check_python() -> Check:
    """Python's version, and whether packages in the home hide those of the environment."""
    sentence = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", FAILED, sentence, "make the environment with Python 3.11 or 3.12.")
    spec = importlib.util.find_spec("torch")
    home_packages = Path(site.getusersitepackages())
    if spec is not None and spec.origin and Path(spec.origin).is_relative_to(home_packages):
        return Check(
            "Python",
            WARNING,
            f"{sentence}, but torch comes from {home_packages}",
            "set PYTHONNOUSERSITE=1, so that packages in your home do not hide those of the environment.",
        )
    return Check("Python", OK, sentence)


def torch_build() -> tuple[str, str | None] | None:
    """Return torch's version and its CUDA version (``"13.0"``, None for a CPU build) without importing it.

    torch writes both into ``torch/version.py``, a file that imports nothing of torch.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    values = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    return str(values["__version__"]), values.get("cuda")


@cache
def machine() -> Machine:
    """Look for GPUs once for all checks of this process."""
    return find_machine()


def check_torch() -> Check:
    """Torch's build against the driver: a build for a newer CUDA than the driver's finds no GPU."""
    build = torch_build()
    if build is None:
        return Check(
            "torch", FAILED, "not installed in this environment", "run `make lab`, which installs it."
        )
    version, cuda = build
    sentence = f"{version}, " + (f"built for CUDA {cuda}" if cuda else "a CPU build")
    driver = machine().cuda_version
    gpus = [gpu for gpu in machine().gpus if gpu.fault is None]
    if gpus and not cuda:
        return Check(
            "torch", WARNING, f"{sentence}: it cannot use the GPUs here", "run `make lab TORCH=auto`."
        )
    # Within one major version the driver runs newer builds (CUDA minor version compatibility,
    # https://docs.nvidia.com/deploy/cuda-compatibility/).
    if gpus and cuda and driver and int(cuda.split(".")[0]) > driver[0]:
        return Check(
            "torch",
            FAILED,
            f"{sentence}, but the driver runs CUDA {driver[0]}.{driver[1]} at most: torch finds no GPU",
            "run `make lab TORCH=auto`, which takes the build for this driver.",
        )
    return Check("torch", OK, sentence)


def check_gpus() -> Check:
    """Which GPUs the driver shows, or why none."""
    found = machine()
    usable = [gpu for gpu in found.gpus if gpu.fault is None]
    broken = [gpu for gpu in found.gpus if gpu.fault is not None]
    if not found.gpus:
        return Check("GPUs", OK, f"none: {found.no_gpu_reason}")
    names = [
        f"{gpu.name or 'a GPU'}"
        + (f" ({format_gib(gpu.memory_total_bytes)})" if gpu.memory_total_bytes else "")
        for gpu in usable
    ]
    counted = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)) or "none usable"
    sentence = f"{counted}; driver {found.driver_version or 'unknown'}"
    if broken:
        return Check("GPUs", WARNING, f"{sentence}; {broken[0].fault}", "ask for another node.")
    return Check("GPUs", OK, sentence)


def check_job() -> Check:
    """What the job, the session or the container may use here."""
    job = os.environ.get("SLURM_JOB_ID")
    where = f"Slurm job {job} on {platform.node()}" if job else "no Slurm job"
    # Open OnDemand stages a session below ~/ondemand/data and starts it there.
    if job and "/ondemand/" in os.environ.get("PWD", "") + os.environ.get("JUPYTER_CONFIG_DIR", ""):
        where = f"Open OnDemand session, {where}"
    host = Host().read().data
    if host is None:
        return Check("job", WARNING, where, "install psutil to see the job's limits.")
    sentence = (
        f"{where}: {host.cpu_limit_cores:g} cores (limit: {host.cpu_limit_source}), "
        f"{format_gib(host.memory_limit_bytes)} of memory (limit: {host.memory_limit_source})"
    )
    if job and os.environ.get("SLURM_EXPORT_ENV") == "NONE":
        return Check(
            "job",
            WARNING,
            f"{sentence}; SLURM_EXPORT_ENV=NONE, with which srun finds no command",
            "open the workshop with `workshop lab`, or set SLURM_EXPORT_ENV=ALL.",
        )
    return Check("job", OK, sentence)


def check_tier() -> Check:
    """Which form of the exercises this machine can run; ``lessons.tier`` asks torch the same."""
    count = sum(gpu.fault is None for gpu in machine().gpus) if check_torch().status == OK else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:  # NVML shows the others all the same
        count = min(count, sum(word.strip() not in {"", "-1"} for word in visible.split(",")))
    tier = "cpu" if count == 0 else "one_gpu" if count == 1 else "multi_gpu"
    shown = "measured here" if tier == "multi_gpu" else "the rest is shown from recorded measurements"
    return Check("tier", OK, f"{tier}: {shown}")


CHECKS: tuple[tuple[str, Callable[[], Check]], ...] = (
    ("Python", check_python),
    ("torch", check_torch),
    ("GPUs", check_gpus),
    ("job", check_job),
    ("tier", check_tier),
)
