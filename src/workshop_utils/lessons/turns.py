"""When each turn of a pipeline stage began and ended: a turn is one micro-batch in one stage's layers."""

import time
from collections.abc import Callable
from typing import Any

from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.generate import wait
from workshop_utils.parallel.runner import Runner, runner_for


class Turns:
    """Makes runners that note their turns: give it to ``generate`` as its ``runner``.

    On one node all processes read the same clock (``time.perf_counter``, the system's monotonic one).
    """

    def __init__(self) -> None:
        self._made = 0
        self._noted: list[tuple[str, int, Any, Any]] = []
        self._clock = (0.0, None)

    def __call__(self, decoder: Decoder, *arguments: Any) -> Any:
        number, self._made = self._made, self._made + 1
        return TimedRunner(self, number, runner_for(decoder)(decoder, *arguments))

    def note(self, phase: str, micro_batch: int, began: Any, ended: Any) -> None:
        """Keep one turn; the times are those of ``moment``."""
        self._noted.append((phase, micro_batch, began, ended))

    def moment(self, device: str) -> Any:
        """Return the time on a CPU; on a GPU an event, as the host is far ahead of what the GPU does."""
        if device == "cpu":
            return time.perf_counter()
        import torch

        if self._clock[1] is None:  # one moment that both clocks know
            zero = torch.cuda.Event(enable_timing=True)
            wait(device)
            zero.record()
            zero.synchronize()
            self._clock = (time.perf_counter(), zero)
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def rows(self) -> list[dict[str, Any]]:
        """Return all turns in their order: ``phase``, ``micro_batch``, ``began`` and ``ended`` in seconds."""
        return [
            {"phase": phase, "micro_batch": number, "began": self._seconds(a), "ended": self._seconds(b)}
            for phase, number, a, b in self._noted
        ]

    def _seconds(self, moment: Any) -> float:
        at, zero = self._clock
        return float(moment) if zero is None else at + zero.elapsed_time(moment) / 1000


class TimedRunner:
    """Notes the turns of a runner of one micro-batch; on a GPU that runs from graphs.

    Without them a turn of a small model would be the time that its host takes to launch it.
    """

    def __init__(self, turns: Turns, number: int, runner: Runner) -> None:
        self._turns, self._number, self._runner = turns, number, runner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def prefill(self, x: Any, lengths: Any) -> Any:
        return self._noted("prefill", self._runner.prefill, x, lengths)

    def step(self, x: Any) -> Any:
        return self._noted("decode", self._runner.step, x)

    def _noted(self, phase: str, run: Callable[..., Any], *inputs: Any) -> Any:
        device = self._runner.decoder.device
        began = self._turns.moment(device)
        result = run(*inputs)
        self._turns.note(phase, self._number, began, self._turns.moment(device))
        return result
