"""Start the process of a case, and put beside what it handed back what was predicted for it."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from workshop_utils.measure.measurement import Measurement, Quantity
from workshop_utils.measure.provenance import measured_here, version_of
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.bench_result import RankFailedError
from workshop_utils.parallel.big_model.bench_accelerate_case import AccelerateCase
from workshop_utils.parallel.big_model.devices import DeviceSet, Key
from workshop_utils.parallel.big_model.offload_folder import clear_if_dead
from workshop_utils.parallel.big_model.peaks import DevicePeak, device_peaks
from workshop_utils.parallel.big_model.placement import Placement
from workshop_utils.parallel.big_model.speed import ExpectedTpot, expected_tpot
from workshop_utils.parallel.launch.launcher import launch

WORKER = Path(__file__).with_name("bench_accelerate_worker.py")
COMMAND = "workshop bench accelerate"
# Accelerate says for every model that some of its parameters are on the meta device.
QUIET = {"ACCELERATE_LOG_LEVEL": "error"}


@dataclass(frozen=True)
class Prediction:
    """What is expected of a placement: the peak of each device, and the time of a token."""

    placement: Placement
    peaks: tuple[DevicePeak, ...]
    tpot: ExpectedTpot

    @property
    def peak_bytes(self) -> dict[Key, int]:
        return {peak.device.key: peak.peak_bytes for peak in self.peaks if peak.peak_bytes}


@dataclass(frozen=True)
class AccelerateFigures:
    """``run``: what the process handed back. ``reference``: the tokens of the run on one device."""

    case: AccelerateCase
    predicted: Prediction
    run: Mapping[str, Any]
    reference: list[list[int]] | None = None

    @property
    def name(self) -> str:
        return Path(self.case.work.model).name

    @property
    def ttft_ms(self) -> float:
        return float(statistics.median(self.run["ttft_ms"]))

    @property
    def tpot_ms(self) -> float:
        return float(statistics.median(self.run["tpot_ms"]))

    @property
    def tokens_per_s(self) -> float:
        """Tokens of the decoding a second, of all sequences."""
        return 1000 * self.case.work.batch / self.tpot_ms if self.tpot_ms else 0.0

    @property
    def greedy_tokens_equal(self) -> bool | None:
        return None if self.reference is None else self.reference == self.run["tokens"]

    @property
    def layers(self) -> dict[str, int]:
        """How many decoder layers each device holds."""
        homes = [str(home) for home in self.predicted.placement.layers]
        return {home: homes.count(home) for home in dict.fromkeys(homes)}

    def as_json(self) -> dict[str, Any]:
        """Return the schema of ``workshop bench accelerate --json``."""
        work, expected = self.case.work, self.predicted.tpot
        return {
            "placement": self.case.placement, "model": self.name, "device": self.run["hardware"],
            "layers": self.layers, "hops": self.predicted.placement.hops, "batch": work.batch,
            "tokens": work.tokens, "new": work.new, "dtype": work.dtype, "ttft_ms": self.ttft_ms,
            "tpot_ms": self.tpot_ms, "tokens_per_s": self.tokens_per_s,
            "peak_bytes": self.run["peak_bytes"],
            "predicted_peak_bytes": {str(key): size for key, size in self.predicted.peak_bytes.items()},
            "predicted_tpot_ms": expected.ms, "predicted_tpot_certainty": expected.certainty,
            "predicted_tpot_parts": [asdict(part) for part in expected.parts],
            "moved_bytes_per_token": self.run["moved_bytes"],
            "disk_bytes_per_token": self.run["disk_bytes_per_token"],
            "load_seconds": self.run["load_seconds"], "load": self.run["load"],
            "greedy_tokens_equal": self.greedy_tokens_equal, "run": dict(self.run),
        }  # fmt: skip


def predict(case: AccelerateCase, devices: DeviceSet, placement: Placement) -> Prediction:
    """Return the memory engine's peaks and the expected time of a token at the end of the text."""
    work = case.work
    tokens = work.tokens + work.new
    peaks = device_peaks(
        find_architecture(work.model), placement, devices, tokens=tokens, batch=work.batch, dtype=work.dtype,
        new_tokens=work.new,
    )  # fmt: skip
    time = expected_tpot(work.model, placement, devices, tokens=tokens, batch=work.batch, dtype=work.dtype)
    return Prediction(placement, peaks, time)


def run_case(
    case: AccelerateCase, predicted: Prediction, device: str | None, timeout_seconds: float
) -> AccelerateFigures:
    """Run a case in a process of its own, which sees all GPUs; RankFailedError where it fails.

    However it ends, nothing of it stays in the offload folder.
    """
    gpu = next((peak for peak in predicted.peaks if peak.estimate), None)
    case = replace(case, predicted_bytes=gpu.peak_bytes if gpu else None)
    try:
        result = launch(
            WORKER, [case.as_json()], 1, device=device, timeout_seconds=timeout_seconds, environment=QUIET
        )
    finally:
        if case.offload_folder:
            clear_if_dead(Path(case.offload_folder))
    if not result.finished:
        raise RankFailedError(result.message)
    (run,) = result.measurements
    return AccelerateFigures(case, predicted, run)


def measurement_of(figures: AccelerateFigures) -> Measurement:
    """Return the medians as values, and the case, the map and every repeat as settings."""
    row = figures.as_json()
    values = {
        "ttft": Quantity(figures.ttft_ms, "ms"),
        "tpot": Quantity(figures.tpot_ms, "ms"),
        "predicted_tpot": Quantity(row["predicted_tpot_ms"], "ms"),
        "tokens_per_s": Quantity(figures.tokens_per_s, "tokens/s"),
        "moved_per_token": Quantity(row["moved_bytes_per_token"], "bytes"),
        "load": Quantity(row["load_seconds"], "seconds"),
    }
    for kind in ("peak", "predicted_peak"):
        values |= {f"{kind}_{key}": Quantity(size, "bytes") for key, size in row[f"{kind}_bytes"].items()}
    if row["load"] is not None:
        values |= {name: Quantity(row["load"][name], "GB/s") for name in ("load_gb_per_s", "read_gb_per_s")}
    case = figures.case
    settings = {
        **asdict(case.work), "model": figures.name, "placement": case.placement,
        "layers": figures.layers, "hops": row["hops"], "limits_bytes": dict(case.limits_bytes),
        "greedy_tokens_equal": figures.greedy_tokens_equal, "run": row["run"],
    }  # fmt: skip
    what = f"{figures.name}, {case.placement}"
    taken = measured_here(what, {}, COMMAND, settings, str(figures.run["hardware"]))
    versions = {**taken.versions, "accelerate": version_of("accelerate")}
    return replace(taken, values=values, versions=versions)
