"""Start the ranks of a case, and put what they handed back together: one run's figures."""

import os
import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from workshop_utils.measure.provenance import several
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.bench_case import BenchCase, random_prompts
from workshop_utils.parallel.bench_predicted import VALUE_BYTES, predicted_peaks
from workshop_utils.parallel.data import Answered, answer_all
from workshop_utils.parallel.launch.environment import cores_here
from workshop_utils.parallel.launch.launcher import launch
from workshop_utils.parallel.prompt_service import PromptService
from workshop_utils.parallel.tensor import bytes_sent

WORKER = Path(__file__).with_name("bench_worker.py")


class RankFailedError(Exception):
    """A rank failed; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """``ranks``: what each handed back, in order. Times are those of the last stage, which makes tokens."""

    case: BenchCase
    name: str
    ranks: tuple[dict[str, Any], ...]
    predicted_peak_bytes: tuple[int, ...] | None
    answered: Answered | None = None

    @property
    def _last(self) -> dict[str, Any]:
        return max(self.ranks, key=lambda rank: (rank["stage"], -rank["tensor_rank"]))

    @property
    def ttft_ms(self) -> float:
        return statistics.median(self._times("ttft_ms"))

    @property
    def tpot_ms(self) -> float:
        return statistics.median(self._times("tpot_ms"))

    def _times(self, name: str) -> list[float]:
        """All runs of the ranks that make tokens; a replica that got no prompt has none."""
        last = self._last
        makers = [
            r for r in self.ranks if (r["stage"], r["tensor_rank"]) == (last["stage"], last["tensor_rank"])
        ]
        return [value for rank in makers for value in rank[name]]

    @property
    def sequences(self) -> int:
        """Those that are decoded at a time; a replica that failed decodes none."""
        failed = len(self.answered.failures) if self.answered is not None else 0
        return self.case.batch * (self.case.layout.data - failed)

    @property
    def tokens_per_s(self) -> float:
        """Tokens of the decoding a second, of all sequences."""
        return 1000 * self.sequences / self.tpot_ms if self.tpot_ms else 0.0

    @property
    def hardware(self) -> str:
        """What the ranks ran on; several that share a CPU ran on one."""
        name = str(self.ranks[0]["hardware"])
        return name if name.startswith("CPU") else several(self.case.ranks, name)

    @property
    def greedy_tokens_equal(self) -> bool | None:
        found = [rank["greedy_tokens_equal"] for rank in self.ranks if "greedy_tokens_equal" in rank]
        return all(found) if found else None

    @property
    def max_abs_logit_difference(self) -> float | None:
        return self._largest("max_abs_logit_difference")

    @property
    def relative_logit_difference(self) -> float | None:
        """Norm of all logits' differences over that of all logits."""
        return self._largest("relative_logit_difference")

    def _largest(self, name: str) -> float | None:
        return max((float(rank[name]) for rank in self.ranks if name in rank), default=None)

    @property
    def bytes_sent_per_token(self) -> int:
        """Bytes that one rank of the first stage sends for one step of all its sequences."""
        architecture, case = find_architecture(self.case.model), self.case
        value, hidden = VALUE_BYTES[case.dtype], architecture.hidden_size
        layers = len(architecture.layers) // case.pipeline
        handed_on = case.batch * hidden * value if case.pipeline > 1 else 0
        return bytes_sent(case.batch, hidden, layers, value, case.tensor, embeddings=1) + handed_on

    @property
    def roofline_share(self) -> float:
        """Time to read weights and cache at the speed of a copy, over the time of a step."""
        worst = 0.0
        for rank in self.ranks:
            seconds = self.step_bytes(rank) / rank["copy_bytes_per_second"]
            worst = max(worst, seconds)
        return worst / (self.tpot_ms / 1000) if self.tpot_ms else 0.0

    @property
    def joules_per_token(self) -> float | None:
        """Energy of all GPUs over all new tokens, prefills included; None where not all of it is known."""
        used = [rank.get("joules") for rank in self.ranks]
        if not used or None in used or (self.answered is not None and self.answered.failures):
            return None
        return sum(map(float, filter(None, used))) / (self.sequences * self.case.new * self.case.repeats)

    @property
    def predicted_tpot_ms(self) -> float:
        """The least time of a step: the fullest rank's bytes at the speed of a large copy on its device."""
        return self.roofline_share * self.tpot_ms

    def step_bytes(self, rank: dict[str, Any]) -> int:
        """Bytes that a rank must read for one step: its weights, once a micro-batch, and half-full caches."""
        reads: int = rank["weight_bytes"] - rank.get("unread_bytes", 0)
        cache: int = rank.get("cache_bytes", 0)
        return reads * self.case.micro_batches + cache

    def as_json(self) -> dict[str, Any]:
        """Return the schema of ``workshop bench run --json``."""
        case = self.case
        return {
            "strategy": case.strategy, "ranks": case.ranks, "layout": str(case.layout), "model": self.name,
            "device": self.hardware, "batch": case.batch, "tokens": case.tokens, "new": case.new,
            "dtype": case.dtype, "ttft_ms": self.ttft_ms, "tpot_ms": self.tpot_ms,
            "tokens_per_s": self.tokens_per_s,
            "peak_bytes": [rank["peak_bytes"] for rank in self.ranks],
            "weight_bytes": [rank["weight_bytes"] for rank in self.ranks],
            "predicted_peak_bytes": list(self.predicted_peak_bytes) if self.predicted_peak_bytes else None,
            "bytes_sent_per_token": self.bytes_sent_per_token, "roofline_share": self.roofline_share,
            "least_tpot_ms": self.predicted_tpot_ms, "joules_per_token": self.joules_per_token,
            "max_abs_logit_difference": self.max_abs_logit_difference,
            "relative_logit_difference": self.relative_logit_difference,
            "greedy_tokens_equal": self.greedy_tokens_equal, **self._queue(), "runs": list(self.ranks),
        }  # fmt: skip

    def _queue(self) -> dict[str, Any]:
        """What a data parallel run adds: its prompts a second, and who answered how many."""
        if self.answered is None:
            return {}
        count = len(self.answered.answers)
        return {
            "seconds": self.answered.seconds,
            "wall_tokens_per_s": count * self.case.new / self.answered.seconds,
            "answers_by_replica": [self.answered.by[n] for n in sorted(self.answered.by)],
            "failed_replicas": {str(n): reason for n, reason in self.answered.failures.items()},
        }


def run_case(case: BenchCase, device: str | None, timeout_seconds: float) -> RunFigures:
    """Run a case on ranks of its own; RankFailedError where a rank fails, WorkshopError for all replicas."""
    case = replace(case, predicted_bytes=predicted_peaks(case) or ())
    if case.strategy == "data" or case.layout.data > 1:
        return run_replicas(case, device, timeout_seconds)
    result = launch(WORKER, [case.as_json()], case.ranks, device=device, timeout_seconds=timeout_seconds)
    if not result.finished:
        raise RankFailedError(result.message)
    rows = sorted(result.measurements, key=lambda row: row["rank"])
    return RunFigures(case, Path(case.model).name, tuple(rows), case.predicted_bytes or None)


def run_replicas(case: BenchCase, device: str | None, timeout_seconds: float) -> RunFigures:
    """Run a data parallel case: replicas of their own, and one queue of prompts for all of them."""
    each, replicas = case.pipeline * case.tensor, case.layout.data
    rows: list[dict[str, Any]] = []
    stopped = threading.Event()

    def start(number: int, service: PromptService) -> str | None:
        result = launch(
            WORKER, [case.as_json(), str(service.folder), str(number)], each, device=device,
            timeout_seconds=timeout_seconds, environment=replica_environment(number, each, replicas),
            stop=stopped.is_set,
        )  # fmt: skip
        rows.extend(result.measurements)
        return None if result.finished else result.message

    prompts = random_prompts(case, case.batch * replicas * case.repeats)
    with tqdm(total=len(prompts), desc=f"{replicas} × {each} ranks", unit="prompt", leave=False) as bar:

        def show(done: int) -> None:
            bar.update(done - bar.n)

        answered = answer_all(prompts, replicas, start, stop=stopped.set, progress=show)
    rows.sort(key=lambda row: (row["replica"], row["rank"]))
    return RunFigures(case, Path(case.model).name, tuple(rows), case.predicted_bytes or None, answered)


def replica_environment(number: int, ranks: int, replicas: int) -> dict[str, str]:
    """Return what tells a replica its GPUs, the next so many, or on a CPU its share of the cores."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    known = [word.strip() for word in seen.split(",")] if seen else None
    wanted = range(number * ranks, (number + 1) * ranks)
    gpus = [known[n] if known and n < len(known) else str(n) for n in wanted]
    cores = max(1, cores_here() // (ranks * replicas))
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus), "OMP_NUM_THREADS": str(cores)}


def spread(values: Sequence[float]) -> float:
    """Return how far the runs lie apart: (highest − lowest) / median."""
    return (max(values) - min(values)) / statistics.median(values)
