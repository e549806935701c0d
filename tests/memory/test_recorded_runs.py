"""Every recorded run of ``generate()`` against the estimate: peaks, the process, and what fits."""

import json
import lzma
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.measure.bench_memory_command import fitted_models
from workshop_utils.measure.measurement import Measurement, load_measurements
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.models.find import find_architecture

HERE = Path(__file__).parent
RECORDED = load_measurements(HERE.parents[1] / "notebooks" / "recorded" / "memory_of_generate.json")
TRACES = HERE / "allocations.json.xz"
# Read beside the traces while the rules were written, without a trace in the repository.
ALSO_READ = {"qwen2.5-7b", "gemma-2-9b", "granite-3.1-8b", "olmo-2-7b"}
PEAK, PROCESS = ("peak_bytes", "peak_allocated"), ("process_bytes", "process")


def outcome(row: Measurement) -> str:
    return str(row.settings["outcome"])


def device(row: Measurement) -> Gpu:
    return find_gpu("H200" if "H200" in row.hardware else "H100-80GB")


def predicted(row: Measurement) -> Estimate:
    of = row.settings
    return shared_prediction(
        of["model"], of["tokens"] + of["new_tokens"], of["batch"], of["attention"], of["cache"],
        of["pipeline_parallel"], device(row),
    )  # fmt: skip


@cache
def shared_prediction(
    model: str, tokens: int, batch: int, attention: str, kind: str, stages: int, gpu: Gpu
) -> Estimate:
    """The estimate of all ranks of one run."""
    return estimate(
        find_architecture(model), tokens=tokens, batch=batch, attention=attention, cache=kind,
        pipeline_parallel=stages, gpu=gpu,
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """All ranks of one run."""

    ranks: tuple[Measurement, ...]

    @property
    def model(self) -> str:
        return str(self.ranks[0].settings["model"])

    def error(self, names: tuple[str, str]) -> float:
        """The largest relative error of a rank."""
        of_estimate, of_row = names
        return max(
            abs(getattr(predicted(row).per_gpu[row.settings["rank"]], of_estimate) / row.bytes_of(of_row) - 1)
            for row in self.ranks
        )


def cases(rows: Iterable[Measurement]) -> list[Case]:
    """The ranks of a run together, in the order of the file."""
    runs: dict[tuple[str, str], list[Measurement]] = {}
    for row in rows:
        if outcome(row) == "measured":
            runs.setdefault((row.what, row.hardware), []).append(row)
    return [Case(tuple(ranks)) for ranks in runs.values()]


CASES = cases(RECORDED)


def report(name: str, group: list[Case]) -> str:
    """One line for people who run this with ``-s``."""
    words = [f"{name}: {len(group)} cases"]
    for names in (PEAK, PROCESS):
        found = [case.error(names) for case in group]
        words.append(f"{names[1]} median {statistics.median(found):.3%}, worst {max(found):.3%}")
    return "; ".join(words)


def test_the_models_that_were_read_while_the_rules_were_written_are_named() -> None:
    traced = {trace["model"] for trace in json.loads(lzma.decompress(TRACES.read_bytes()))}
    assert fitted_models() == traced | ALSO_READ


def test_every_rank_of_a_run_is_there_once() -> None:
    for case in CASES:
        assert sorted(row.settings["rank"] for row in case.ranks) == list(
            range(case.ranks[0].settings["pipeline_parallel"])
        )


def test_at_least_half_of_the_cases_are_of_models_that_no_rule_was_written_beside() -> None:
    held_out = [case for case in CASES if case.model not in fitted_models()]
    assert len(CASES) >= 40
    assert 2 * len(held_out) >= len(CASES)


@pytest.mark.parametrize(
    ("names", "median", "worst"), [(PEAK, 0.001, 0.005), (PROCESS, 0.02, 0.05)], ids=("peak", "process")
)
@pytest.mark.parametrize("group", ["read", "held out", "all"])
def test_predictions_are_near_what_was_measured(
    group: str, names: tuple[str, str], median: float, worst: float
) -> None:
    read = {"read": (True,), "held out": (False,), "all": (True, False)}[group]
    chosen = [case for case in CASES if (case.model in fitted_models()) in read]
    print(report(group, chosen))
    found = {case.ranks[0].what: case.error(names) for case in chosen}
    assert statistics.median(found.values()) <= median
    assert not {what: f"{error:.2%}" for what, error in found.items() if error > worst}


@pytest.mark.parametrize("phase", ["prefill_peak", "decode_peak"])
def test_each_phase_has_its_own_peak(phase: str) -> None:
    errors = {}
    for row in RECORDED:
        if outcome(row) == "measured":
            rank = predicted(row).per_gpu[row.settings["rank"]]
            found = getattr(rank, f"{phase}_bytes")
            errors[row.what, row.settings["rank"]] = abs(found / row.bytes_of(phase) - 1)
    print(f"{phase}: median {statistics.median(errors.values()):.3%}, worst {max(errors.values()):.3%}")
    assert {what: f"{error:.2%}" for what, error in errors.items() if error > 0.005} == {}


def test_what_ran_out_of_memory_is_predicted_not_to_fit() -> None:
    failed = [row for row in RECORDED if outcome(row) == "out_of_memory"]
    assert len(failed) >= 4
    assert [row.what for row in failed if predicted(row).fits(device(row))] == []


def test_what_ran_is_predicted_to_fit() -> None:
    ran = [row for row in RECORDED if outcome(row) == "measured"]
    assert [row.what for row in ran if not predicted(row).fits(device(row))] == []
