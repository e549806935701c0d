"""Numbers, sizes, times and GPUs as Slurm writes them."""

import re

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}


def whole(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def size_bytes(text: str) -> int | None:
    """Return Slurm's sizes, such as ``211684K`` or ``1.50G``, in bytes; None for anything else."""
    match = re.fullmatch(r"([\d.]+)([KMGTP]?)", text)
    try:
        return round(float(match[1]) * UNITS[match[2]]) if match else None
    except ValueError:
        return None


def seconds(text: str) -> float:
    """Return Slurm's ``[days-]hours:minutes:seconds[.thousandths]`` in seconds, 0 for anything else."""
    days, dash, clock = text.rpartition("-")
    try:
        total = 0.0
        for part in clock.split(":"):
            total = total * 60 + float(part)
        return total + (int(days) * 86_400 if dash else 0)
    except ValueError:
        return 0.0


def gpus_of(tres: str) -> dict[str, int]:
    """Return GPUs by type; one without a type is called ``gpu``."""
    typed = {name: int(count) for name, count in re.findall(r"gres/gpu:([^=,]+)=(\d+)", tres)}
    if typed:
        return typed
    match = re.search(r"gres/gpu=(\d+)", tres)
    return {"gpu": int(match[1])} if match else {}
