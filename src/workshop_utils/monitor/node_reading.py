"""What the panel shows of another node, and its way there: lines short enough for srun's standard output.

Slurm hands a task's output on in pieces of 1,024 bytes at most, and those of several nodes arrive in any
order: so each GPU is a line of its own, and the node's line, which says how many there were, comes last.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workshop_utils.hardware.reading import GpuReading
from workshop_utils.monitor.sample import STREAM_VERSION, Sample

# slurmstepd's MAX_MSG_LEN is 1,024: https://github.com/SchedMD/slurm/blob/master/src/common/io_hdr.h
LONGEST_LINE_BYTES = 1000
MOST_GPUS = 64
LONGEST_NAME, LONGEST_SENTENCE = 64, 240
STATUSES = ("ok", "lost", "unavailable")


@dataclass(frozen=True)
class NodeGpu:
    """One GPU of another node; the fields are JSON keys, and mean what they mean in the stream.

    ``mine``: whether the job holds it; None where nothing says so.
    """

    index: int
    name: str | None
    status: str
    error: str | None
    utilization_percent: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None
    power_watts: float | None
    mine: bool | None


@dataclass(frozen=True)
class NodeHost:
    """CPU and main memory of the job on another node; the fields are JSON keys of the stream."""

    cpu_percent: float | None
    cpu_limit_cores: float | None
    memory_used_bytes: float | None
    memory_limit_bytes: float | None


@dataclass(frozen=True)
class NodeReading:
    """Another node at one moment, by its own clock (seconds since 1970).

    Where GPUs or host could not be read, a sentence says why.
    """

    time: float
    gpus: tuple[NodeGpu, ...]
    gpus_error: str | None
    host: NodeHost | None
    host_error: str | None


def reading_of(sample: Sample) -> NodeReading:
    """Return what is shown of a sample."""
    gpus, host = sample.gpus.data or (), sample.host.data
    held = sample.my_gpus
    return NodeReading(
        time=round(sample.time, 3),
        gpus=tuple(_brief(gpu, None if held is None else gpu.index in held) for gpu in gpus[:MOST_GPUS]),
        gpus_error=_cut(sample.gpus.error),
        host=None if host is None else NodeHost(**{name: getattr(host, name) for name in _names(NodeHost)}),
        host_error=_cut(sample.host.error),
    )


def lines_of(reading: NodeReading, node: str, tick: int) -> Iterator[str]:
    """Yield the reading as lines; ``tick`` counts the readings of a collector."""
    about = {"version": STREAM_VERSION, "node": node, "tick": tick}
    for gpu in reading.gpus:
        yield json.dumps({**about, "kind": "node_gpu", "gpu": vars(gpu)}, ensure_ascii=False)
    row = row_of(reading)
    row["gpus"] = len(reading.gpus)
    yield json.dumps({**about, "kind": "node", **row}, ensure_ascii=False)


def row_of(reading: NodeReading) -> dict[str, Any]:
    """Return the reading as JSON values."""
    return {
        **vars(reading),
        "gpus": [vars(gpu) for gpu in reading.gpus],
        "host": None if reading.host is None else vars(reading.host),
    }


def read_row(row: Mapping[str, Any]) -> NodeReading:
    """Read ``row_of``'s values back; ValueError for anything else."""
    gpus, host = row.get("gpus"), row.get("host")
    if not isinstance(gpus, list) or len(gpus) > MOST_GPUS:
        raise ValueError("no list of GPUs")
    if host is not None and not isinstance(host, dict):
        raise ValueError("no host")
    time = number(row, "time")
    if time is None:
        raise ValueError("no time")
    return NodeReading(
        time=time,
        gpus=tuple(map(_read_gpu, gpus)),
        gpus_error=text(row, "gpus_error", LONGEST_SENTENCE),
        host=None if host is None else NodeHost(**{name: number(host, name) for name in _names(NodeHost)}),
        host_error=text(row, "host_error", LONGEST_SENTENCE),
    )


class Assembly:
    """Puts one node's lines together again; a reading that lacks one is left out."""

    def __init__(self) -> None:
        self._tick: int | None = None
        self._gpus: list[Any] = []

    def take(self, row: Mapping[str, Any]) -> NodeReading | None:
        """Take a line of this node; return the reading that it completes. ValueError for what is none."""
        tick = row.get("tick")
        if row.get("version") != STREAM_VERSION or not isinstance(tick, int):
            raise ValueError("no line of a collector")
        if tick != self._tick:
            self._tick, self._gpus = tick, []
        if row.get("kind") == "node_gpu" and len(self._gpus) < MOST_GPUS:
            self._gpus.append(row.get("gpu"))
            return None
        if row.get("kind") != "node" or row.get("gpus") != len(self._gpus):
            raise ValueError("a reading that is not complete")
        return read_row({**row, "gpus": self._gpus})


def number(row: Mapping[str, Any], name: str) -> float | None:
    """Return a finite number or None; ValueError for another value."""
    value = row.get(name)
    if value is None:
        return None
    # ``math.isfinite`` would raise another error for an integer of hundreds of digits.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name} is no number")
    return value


def text(row: Mapping[str, Any], name: str, longest: int) -> str | None:
    """Return a text or None; ValueError for another value, or one that is too long."""
    value = row.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > longest):
        raise ValueError(f"{name} is no short text")
    return value


def _brief(gpu: GpuReading, mine: bool | None) -> NodeGpu:
    return NodeGpu(
        index=gpu.index,
        name=None if gpu.name is None else gpu.name[:LONGEST_NAME],
        status=gpu.status,
        error=_cut(gpu.error),
        utilization_percent=gpu.utilization_percent,
        memory_used_bytes=gpu.memory_used_bytes,
        memory_total_bytes=gpu.memory_total_bytes,
        power_watts=gpu.power_watts,
        mine=mine,
    )


def _read_gpu(row: Any) -> NodeGpu:
    if not isinstance(row, dict):
        raise ValueError("no GPU")
    index, status, mine = row.get("index"), row.get("status"), row.get("mine")
    if isinstance(index, bool) or not isinstance(index, int) or index < 0 or status not in STATUSES:
        raise ValueError("no GPU")
    if mine is not None and not isinstance(mine, bool):
        raise ValueError("no GPU")
    return NodeGpu(
        index=index,
        name=text(row, "name", LONGEST_NAME),
        status=status,
        error=text(row, "error", LONGEST_SENTENCE),
        utilization_percent=number(row, "utilization_percent"),
        memory_used_bytes=number(row, "memory_used_bytes"),
        memory_total_bytes=number(row, "memory_total_bytes"),
        power_watts=number(row, "power_watts"),
        mine=mine,
    )


def _names(kind: type) -> tuple[str, ...]:
    return tuple(kind.__dataclass_fields__)  # type: ignore[attr-defined]


def _cut(sentence: str | None) -> str | None:
    """A sentence that is too long for a line loses its end."""
    if sentence is None or len(sentence) <= LONGEST_SENTENCE:
        return sentence
    return sentence[: LONGEST_SENTENCE - 1] + "…"
