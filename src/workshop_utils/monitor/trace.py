"""A trace: what the monitor saw while something ran, one JSON object a line, to be read again anywhere.

The first line is a header (hardware, versions, command, date, rate), then come the stream's own ``sample``
frames with ``mark`` lines between them, and at last an ``end`` line, which a killed recording lacks.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.reading import GpuReading
from workshop_utils.monitor.sample import STREAM_VERSION

LOG = logging.getLogger(__name__)
KIND = "trace"
STOP_SECONDS = 2.0
FIGURES = tuple(each.name for each in fields(GpuReading) if each.type in (int | None, float | None))
MOST = 2**64  # no counter of a driver holds more
LAST_TIME = 8.64e12  # what a Date of JavaScript holds, in seconds before and after 1970
FAR_SECONDS = 7 * 24 * 3600  # a sample that lies further from all around it has a wrong time


@dataclass(frozen=True)
class Trace:
    """A trace that was read: frames as in the stream, samples in the order of their times.

    ``end`` is None where the recording was cut off, ``skipped`` the number of lines that cannot be read.
    """

    header: Mapping[str, Any]
    samples: tuple[Mapping[str, Any], ...]
    marks: tuple[Mapping[str, Any], ...]
    end: Mapping[str, Any] | None
    skipped: int = 0

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return self.samples[-1]["time"] - self.samples[0]["time"] if self.samples else 0.0

    def gpu_series(self, index: int, figure: str) -> list[tuple[float, Any]]:
        """Return (seconds from the first sample, value) of one figure of one GPU; None where it has none."""
        series = []
        for sample in self.samples:
            gpus = sample["gpus"]["data"] or ()
            gpu = next((gpu for gpu in gpus if gpu["index"] == index), None)
            value = gpu.get(figure) if gpu else None
            series.append((sample["time"] - self.samples[0]["time"], value))
        return series


def read_trace(file: Path) -> Trace:
    """Read a trace as the panel does (``trace.ts``): a line that cannot be read is left out and counted.

    How many they are is logged as a warning, which a terminal and a notebook show. A last line that is cut
    off is not among them. WorkshopError for a file that cannot be read or has no header of this version.
    """
    try:
        lines = [line for line in file.read_bytes().split(b"\n") if line.strip()]
    except OSError as error:
        raise WorkshopError(
            f"cannot read the trace {file} ({error.strerror}); give a file of `workshop record`."
        ) from error
    header = read_header(file, parsed(lines[0]) if lines else None)
    rows = [parsed(line) for line in lines[1:]]
    if rows and rows[-1] is None:
        del rows[-1]
    found: dict[str, list[Mapping[str, Any]]] = {"sample": [], "mark": [], "end": [], "other": []}
    for row in filter(None, map(usable, rows)):
        found[row["kind"]].append(row)
    samples = plausible(found["sample"])
    skipped = len(rows) - sum(map(len, found.values())) + len(found["sample"]) - len(samples)
    if skipped:
        LOG.warning("%s: lines that cannot be read and are left out: %d.", file, skipped)
    end = found["end"][-1] if found["end"] else None
    return Trace(header, tuple(samples), tuple(found["mark"]), end, skipped)


def plausible(samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out what lies far from all around it, then what is no newer than the sample before."""
    times = [sample["time"] for sample in samples]

    def is_near(at: int) -> bool:
        around = times[max(0, at - 2) : at] + times[at + 1 : at + 3]
        return any(abs(time - times[at]) < FAR_SECONDS for time in around)

    kept: list[Mapping[str, Any]] = []
    for sample in [sample for at, sample in enumerate(samples) if is_near(at)] or samples:
        if not kept or sample["time"] > kept[-1]["time"]:
            kept.append(sample)
    return kept


def parsed(line: bytes) -> Any:
    """Return what a line holds, None where it is no JSON; as in JavaScript, NaN is none."""
    try:
        return _decode(line.decode())
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_decode = json.JSONDecoder(parse_constant=_refuse).decode


def read_header(file: Path, header: Any) -> Mapping[str, Any]:
    """Return the header with a list as its hardware; WorkshopError where there is none of this version."""
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise WorkshopError(
            f"{file} is no trace: it does not begin with a header; see `workshop record --help`."
        )
    if header.get("version") != STREAM_VERSION:
        raise WorkshopError(
            f"{file} has version {header.get('version')!r} and this workshop reads {STREAM_VERSION}; "
            "record it anew."
        )
    hardware, versions = header.get("hardware"), header.get("versions")
    return {
        **header,
        "hardware": hardware if isinstance(hardware, list) else [],
        "versions": versions if isinstance(versions, dict) else {},
    }


def usable(row: Any) -> Mapping[str, Any] | None:
    """Return a line in the shape that readers of a trace count on; None where it does not have it."""
    if not isinstance(row, dict):
        return None
    kind = row.get("kind")
    if kind == "end":
        return row
    if kind == "mark":
        text = row.get("text")
        return {**row, "text": text if isinstance(text, str) else ""} if is_time(row.get("time")) else None
    if row.get("version") != STREAM_VERSION:
        return None
    return usable_sample(row) if kind == "sample" else {"kind": "other"}


def usable_sample(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a sample whose GPUs are a list of objects, or None with an ``error``."""
    gpus = row.get("gpus")
    if not is_time(row.get("time")) or not isinstance(gpus, dict):
        return None
    data, error = gpus.get("data"), gpus.get("error")
    if gpus.get("status") != "ok":
        data = None
        error = error if isinstance(error, str) else "The trace does not say why its GPUs are missing."
    elif data is not None:
        if not isinstance(data, list) or not all(isinstance(gpu, dict) for gpu in data):
            return None
        data = [usable_gpu(gpu) for gpu in data]
    return {**row, "gpus": {**gpus, "error": error, "data": data}}


def usable_gpu(gpu: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a GPU with an index and a name, and None for a figure that is no number."""
    index, name = gpu.get("index"), gpu.get("name")
    return {
        **gpu,
        "index": index if is_number(index) else 0,
        "name": name if isinstance(name, str) else "",
        **{figure: None for figure in FIGURES if figure in gpu and not is_number(gpu[figure])},
    }


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST


def is_time(value: Any) -> bool:
    return is_number(value) and abs(value) <= LAST_TIME
