"""A trace cut at its marks: what each GPU did in each phase, of the moments in which any of them computed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from workshop_utils.monitor.trace import Trace
from workshop_utils.units import GB, GIB

WHOLE = "the whole recording"
COMPUTES_PERCENT = 1.0


@dataclass(frozen=True)
class Figure:
    """A figure of a GPU as it is shown: its name in a trace, in words with its unit, and what one unit is."""

    name: str
    words: str
    unit: float = 1


UTILISATION = Figure("utilization_percent", "utilisation, %")
SM = Figure("sm_percent", "SM activity, %")
DRAM = Figure("dram_percent", "memory bandwidth, %")
NVLINK = Figure("nvlink_tx_bytes_per_s", "sent over NVLink, GB/s", GB)
MEMORY = Figure("memory_used_bytes", "memory in use, GiB", GIB)
POWER = Figure("power_watts", "power, W")
FIGURES = (UTILISATION, SM, DRAM, NVLINK, MEMORY, POWER)


@dataclass(frozen=True)
class Phase:
    """What lies between two marks, in seconds from the first sample on; named by the mark that begins it.

    ``computing``: the samples that count, see ``computes``. ``step``: seconds between two samples.
    """

    name: str
    began: float
    ended: float
    computing: tuple[Mapping[str, Any], ...]
    step: float

    @property
    def computing_seconds(self) -> float:
        return len(self.computing) * self.step

    def value(self, index: int, figure: Figure) -> float | None:
        """Return a figure of one GPU: the median, which moments of loading do not move, of memory the most.

        None where nothing was reported.
        """
        found = [
            gpu[figure.name] / figure.unit
            for sample in self.computing
            for gpu in gpus_of(sample)
            if gpu["index"] == index and gpu.get(figure.name) is not None
        ]
        if not found:
            return None
        return max(found) if figure is MEMORY else float(median(found))


def gpus_of(sample: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return all GPUs of a sample; none where the driver did not answer."""
    return sample["gpus"]["data"] or ()


def indexes(trace: Trace) -> list[int]:
    """Return the indexes of all GPUs that any sample has."""
    return sorted({gpu["index"] for sample in trace.samples for gpu in gpus_of(sample)})


def activity_of(trace: Trace) -> Figure:
    """Return what tells that a GPU computes: SM activity, or utilisation where no GPU reports that."""
    return SM if reports(trace.samples, SM) else UTILISATION


def reports(samples: Iterable[Mapping[str, Any]], figure: Figure) -> bool:
    return any(gpu.get(figure.name) is not None for sample in samples for gpu in gpus_of(sample))


def computes(sample: Mapping[str, Any], activity: Figure) -> bool:
    """Return whether any GPU was active at least 1 % of the time since the sample before."""
    return any((gpu.get(activity.name) or 0) >= COMPUTES_PERCENT for gpu in gpus_of(sample))


def step_of(trace: Trace) -> float:
    """Return the seconds between two samples, as they mostly were."""
    steps = [after["time"] - before["time"] for before, after in pairwise(trace.samples)]
    return median(steps) if steps else 0.0


def phases(trace: Trace) -> list[Phase]:
    """Return the phases of a trace, one where it has no mark; a lone sample before the first mark is none."""
    if not trace.samples:
        return []
    start, step, activity = trace.samples[0]["time"], step_of(trace), activity_of(trace)
    cuts = [(mark["time"] - start, str(mark["text"])) for mark in trace.marks]
    if not cuts:
        cuts = [(0.0, WHOLE)]
    elif sum(sample["time"] - start < cuts[0][0] for sample in trace.samples) > 1:
        cuts.insert(0, (0.0, f"before “{cuts[0][1]}”"))
    found = []
    for (began, name), ended in zip(cuts, [*(time for time, _ in cuts[1:]), float("inf")], strict=True):
        inside = [sample for sample in trace.samples if began <= sample["time"] - start < ended]
        computing = tuple(sample for sample in inside if computes(sample, activity))
        found.append(Phase(name, began, min(ended, max(trace.seconds, began)), computing, step))
    return found


def where_recorded(trace: Trace) -> str:
    """Return hardware, versions and date of a trace in one line, and what was done to it since."""
    names = [str(name) for name in trace.header.get("hardware") or ["hardware not noted"]]
    counted = [f"{names.count(name)} × {name}" if names.count(name) > 1 else name for name in names]
    versions = trace.header.get("versions") or {}
    installed = [f"{name} {version}" for name, version in versions.items() if version != "not installed"]
    date = str(trace.header.get("date") or "")[: len("2026-01-31")] or "date not noted"
    parts = [f"recorded on {', '.join(dict.fromkeys(counted))}", ", ".join(installed), date]
    parts += [f"edited: {trace.header['edited']}"] if trace.header.get("edited") else []
    parts += ["cut off before its end"] if trace.end is None else []
    return "; ".join(part for part in parts if part)
