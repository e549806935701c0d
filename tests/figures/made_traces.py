"""Traces with known figures, written as the recorder writes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workshop_utils.monitor.trace import Trace, read_trace
from workshop_utils.units import GB, GIB

START = 1790000000.0
GPU = "NVIDIA H100 80GB HBM3"
Gpu = Mapping[str, Any]


def gpu(index: int, sm: float | None = 0, **more: Any) -> Gpu:
    """Return one GPU: utilisation is twice its SM activity, bandwidth half of it, watts 100 more than it."""
    busy = sm or 0
    return {
        "index": index, "name": GPU, "status": "ok", "error": None, "sm_percent": sm,
        "utilization_percent": 2 * busy, "dram_percent": busy / 2, "power_watts": 100 + busy,
        "memory_used_bytes": 10 * GIB, "nvlink_tx_bytes_per_s": 3 * GB, **more,
    }  # fmt: skip


def made(
    folder: Path,
    samples: Sequence[tuple[float, Sequence[Gpu] | None]],
    marks: Sequence[tuple[float, str]] = (),
    end: bool = True,
    **header: Any,
) -> Trace:
    """Return a trace with these samples, (second, GPUs), and marks, (second, text)."""
    gpus = max((len(each or ()) for _, each in samples), default=0)
    rows: list[dict[str, Any]] = [
        {"version": 1, "kind": "trace", "time": START, "hz": 1.0, "command": None,
         "date": "2026-09-21T14:13:20+00:00", "hardware": [GPU] * gpus + ["CPU x, 8 cores"],
         "versions": {"torch": "2.11.0", "vllm": "not installed"}, **header}
    ]  # fmt: skip
    rows += [
        {"version": 1, "kind": "sample", "time": START + second, "gpus": {"status": "ok", "data": each}}
        for second, each in samples
    ]
    rows += [{"kind": "mark", "time": START + second, "text": text} for second, text in marks]
    rows += [{"kind": "end", "time": START + 99}] * end
    file = folder / "made.ndjson"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return read_trace(file)


def two_phases(folder: Path) -> Trace:
    """GPU 0 alone at 40 and 60 % between two idle samples, then both at 80 and 20 %; 11 s with nothing."""
    idle = (gpu(0), gpu(1))
    alone = [(gpu(0, 40), gpu(1)), (gpu(0, 60, memory_used_bytes=30 * GIB), gpu(1))]
    both = [(gpu(0, 80), gpu(1, 20))] * 2
    samples = [idle, *alone, idle, *both]
    return made(
        folder, list(zip((0, 1, 2, 3, 4, 15), samples, strict=True)), [(0.01, "alone"), (4, "both at work")]
    )
