"""Where a measurement comes from: this machine, these libraries, this moment, this commit."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from workshop_utils.hardware.cuda_gpus import cuda_gpus
from workshop_utils.measure.measurement import Measurement, Quantity

LIBRARIES = ("torch", "transformers")


def measured_here(
    what: str,
    values_bytes: Mapping[str, int],
    command: str,
    settings: Mapping[str, Any],
    hardware: str | None = None,
) -> Measurement:
    """Return a ``Measurement`` of byte counts with the provenance of this process.

    ``hardware`` None asks torch; a process that leaves torch to its children knows the name itself.
    """
    return Measurement(
        what=what,
        values={name: Quantity(value, "bytes") for name, value in values_bytes.items()},
        command=command,
        hardware=hardware or hardware_name(),
        versions={"Python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}},
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        settings=settings,
    )


def hardware_name() -> str:
    """Return the GPUs that torch can use, or the CPU and how many of its cores this process may use."""
    gpus = cuda_gpus()
    return several(len(gpus), gpus[0].name) if gpus else cpu_name()


def device_name(device: str) -> str:
    """Return the name of the one GPU, such as ``cuda:1``, that a rank computes on, or of the CPU."""
    if device == "cpu":
        return cpu_name()
    import torch

    return str(torch.cuda.get_device_name(device))


def several(count: int, name: str) -> str:
    """Return ``2 × NVIDIA H200``, or the name alone."""
    return f"{count} × {name}" if count > 1 else name


def cpu_name() -> str:
    """Return the CPU and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU {_cpu_model()}, {cores} cores"


def _cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name; platform.processor() is empty on most Linux systems."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, or that it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str | None:
    """Return the commit of a checkout; None for an installed wheel, which lies in nobody's repository."""
    package = Path(__file__).resolve().parents[1]
    if package.parent.name != "src":
        return None
    command = ["git", "-C", str(package), "rev-parse", "--short", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
