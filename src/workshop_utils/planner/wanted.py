"""What a reader wants done: a model, so much text, by when."""

from dataclasses import dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.precisions import find_precision
from workshop_utils.models.architecture import Architecture

# The planner's own choice where the reader has none: an answer of a page.
ANSWER_TOKENS = 512
# What is tried where no precision is named: 16 bits, then fewer; each engine's usual ones.
FEWER_BITS = {"transformers": ("int8", "nf4"), "vllm": ("fp8", "awq-int4-g128")}
ENGINES = tuple(FEWER_BITS)


@dataclass(frozen=True)
class Wanted:
    """``prompts`` prompts, each of ``tokens`` tokens together with its answer of ``new_tokens``.

    ``batch``: sequences at a time on each replica, None for as many as fit. ``dtypes``: the precisions to
    consider, empty for 16 bits and fewer. ``deadline_hours`` None: any time will do. Validates itself.
    """

    architecture: Architecture
    tokens: int
    new_tokens: int
    prompts: int = 1
    batch: int | None = None
    engine: str = "transformers"
    dtypes: tuple[str, ...] = ()
    kv_dtype: str | None = None
    deadline_hours: float | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "new_tokens", "prompts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
                raise WorkshopError(f"{name} {value!r} is out of range; give a whole number from 1 to 10^9.")
        if self.batch is not None and not 1 <= self.batch <= 10**6:
            raise WorkshopError(f"batch {self.batch} is out of range; give a whole number from 1 to 10^6.")
        if self.new_tokens >= self.tokens:
            raise WorkshopError(
                f"new_tokens {self.new_tokens:,} leave nothing of {self.tokens:,} tokens for the prompt; "
                "tokens counts prompt and answer together."
            )
        if self.engine not in ENGINES:
            raise WorkshopError(f"engine {self.engine!r} is not planned for; choices: {', '.join(ENGINES)}.")
        for dtype in self.dtypes:
            find_precision(dtype)
        if self.deadline_hours is not None and not 0 < self.deadline_hours < 10**5:
            raise WorkshopError(f"a deadline in {self.deadline_hours:g} hours is none; give hours above 0.")
        most = self.architecture.max_positions
        if most and self.tokens > most:
            raise WorkshopError(
                f"tokens {self.tokens:,} are more than the {most:,} positions of {self.architecture.name}; "
                f"give at most {most}."
            )

    @property
    def prompt(self) -> int:
        return self.tokens - self.new_tokens
