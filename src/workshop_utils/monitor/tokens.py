"""How many tokens a decode loop made, and what energy they took.

    with tokens_counter() as count:
        for step in range(new_tokens):
            decode(...)
            count(batch)            # tokens of this step
    print(count)                    # 512 tokens in 3.1 s: 165 tokens/s, 2.31 J/token (NVML energy counter)

Whatever shows this process live, such as the live strip, sees the tokens as they are counted; the panel is
told once a second, if JupyterLab has started this process.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from workshop_utils.hardware.my_gpus import my_gpus
from workshop_utils.hardware.nvml import Nvml
from workshop_utils.monitor.tokens_file import Teller, Told

NO_COUNTER = "no energy counter"
COUNTER = "NVML energy counter"


class _Total:
    """All tokens of this process, and when the last were reported."""

    lock = threading.Lock()
    tokens = 0
    ticks = 0.0

    @classmethod
    def unlock(cls) -> None:
        """A child of a fork has nobody who would give the lock back."""
        cls.lock = threading.Lock()


def count_tokens(tokens: int = 1) -> None:
    """Report tokens that this process has just made. Any thread may; costs under a microsecond."""
    with _Total.lock:
        _Total.tokens += tokens
        _Total.ticks = time.monotonic()
    _TELLER.wake()


def tokens_counted() -> int:
    """Return all tokens that this process has reported."""
    return _Total.tokens


def _told() -> Told:
    with _Total.lock:
        return Told(_Total.ticks, _Total.tokens)


os.register_at_fork(after_in_child=_Total.unlock)
_TELLER = Teller(_told)


class TokenCount:
    """Tokens of one block; ``seconds`` and ``joules`` are known when it has ended.

    ``joules`` is what this process's GPUs used, whole, with whatever else ran on them; None where there is no
    GPU or one of them does not count its energy.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.seconds: float | None = None
        self.joules: float | None = None

    def __call__(self, tokens: int = 1) -> None:
        """Report tokens."""
        self.tokens += tokens
        count_tokens(tokens)

    @property
    def tokens_per_second(self) -> float | None:
        """None before the block has ended."""
        return self.tokens / self.seconds if self.seconds else None

    @property
    def joules_per_token(self) -> float | None:
        """None before the block has ended, without tokens, and where nothing counts energy."""
        return None if self.joules is None or not self.tokens else self.joules / self.tokens

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.tokens:,} tokens so far"
        rate = rate_words(self.tokens_per_second or 0.0, self.joules_per_token, COUNTER)
        return f"{self.tokens:,} tokens in {self.seconds:.1f} s: {rate}"


@contextmanager
def tokens_counter() -> Iterator[TokenCount]:
    """Count the tokens of a block, its seconds, and the energy of this process's GPUs."""
    count, nvml = TokenCount(), Nvml(rates=False)
    gpus = my_gpus(nvml.read().data or ())
    before = [nvml.energy_joules(gpu.uuid or "") for gpu in gpus]
    start = time.perf_counter()
    try:
        yield count
    finally:
        count.seconds = time.perf_counter() - start
        used = [
            None if then is None or now is None or now < then else now - then
            for then, now in zip(before, (nvml.energy_joules(gpu.uuid or "") for gpu in gpus), strict=True)
        ]
        known = [joules for joules in used if joules is not None]
        count.joules = sum(known) if known and len(known) == len(used) else None
        nvml.close()


def rate_words(tokens_per_second: float, joules_per_token: float | None, source: str) -> str:
    """Return ``165 tokens/s, 2.31 J/token (NVML energy counter)``, or that nothing counts energy."""
    digits = 1 if tokens_per_second < 100 else 0
    energy = NO_COUNTER if joules_per_token is None else f"{joules_per_token:.3g} J/token ({source})"
    return f"{tokens_per_second:,.{digits}f} tokens/s, {energy}"
