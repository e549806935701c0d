"""One run of ``workshop bench run``: which model, split how, on how much text. Validates itself."""

import json
import random
from dataclasses import asdict, dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.layout import Layout
from workshop_utils.parallel.tricks import ALL_TRICKS, Tricks

STRATEGIES = ("plain", "tensor", "pipeline", "data")
DTYPES = ("bfloat16", "float16", "float32")
MOST = 10**6
# What the counts are called on the command line, where their names differ.
OPTIONS = {"tensor": "--tp", "pipeline": "--pp", "micro_batches": "--micro-batches"}


@dataclass(frozen=True, slots=True)
class BenchCase:
    """``strategy`` splits over ``ranks``; ``tensor`` and ``pipeline`` say how each replica is split within.

    ``batch`` prompts of ``tokens`` tokens are continued by ``new`` tokens, ``repeats`` times after a warm-up.
    ``batch`` is that of each replica: two replicas have twice the work. ``twin``: random weights.
    ``kv_heads`` pads the model with heads of zeros. ``check`` compares logits and tokens with plain
    transformers. ``without`` names ``Tricks`` to leave out. ``predicted_bytes``: the peaks expected of a
    replica's ranks, named when one runs out.
    """

    strategy: str
    model: str
    ranks: int = 1
    tensor: int = 1
    pipeline: int = 1
    twin: bool = False
    batch: int = 1
    tokens: int = 128
    new: int = 128
    dtype: str = "bfloat16"
    micro_batches: int = 1
    kv_heads: int | None = None
    repeats: int = 5
    check: bool = False
    predicted_bytes: tuple[int, ...] = ()
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("strategy", self.strategy, STRATEGIES),
            ("dtype", self.dtype, DTYPES),
        ):
            if value not in choices:
                raise WorkshopError(f"{name} {value!r} is not one of {', '.join(choices)}.")
        for name in ("ranks", "tensor", "pipeline", "batch", "tokens", "new", "micro_batches", "repeats"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
                option = OPTIONS.get(name, name)
                raise WorkshopError(
                    f"{option} {value} is out of range; give a whole number from 1 to {MOST:,}."
                )
        ALL_TRICKS.without(tuple(self.without))
        if self.micro_batches > self.batch:
            raise WorkshopError(
                f"{self.micro_batches} micro-batches are more than the {self.batch} prompts of a batch; give "
                f"--batch {self.micro_batches}, or at most {self.batch} micro-batches."
            )
        if self.ranks % (self.tensor * self.pipeline):
            raise WorkshopError(
                f"{self.ranks} ranks are no multiple of pipeline {self.pipeline} × tensor {self.tensor}; "
                f"give --ranks {self.tensor * self.pipeline}, or another split."
            )

    @property
    def tricks(self) -> Tricks:
        """What makes the decoding fast, less what is left out."""
        return ALL_TRICKS.without(tuple(self.without))

    @property
    def layout(self) -> Layout:
        """How all ranks are split."""
        return Layout(self.ranks // (self.tensor * self.pipeline), self.pipeline, self.tensor)

    @property
    def label(self) -> str:
        """The run in a few words."""
        return f"{self.model}, {self.strategy} × {self.ranks}, batch {self.batch}, {self.tokens} + {self.new}"

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def case_from_json(text: str) -> BenchCase:
    """Return the case that ``as_json`` wrote."""
    return BenchCase(**json.loads(text))


def split_of(strategy: str, ranks: int, tensor: int | None, pipeline: int | None) -> tuple[int, int]:
    """Return tensor and pipeline parallel size of a strategy on ``ranks`` ranks where nobody gave them.

    ``tensor`` and ``pipeline`` take all ranks for themselves, ``data`` leaves each replica one rank. Sizes
    that were given are returned as they are: ``BenchCase`` says which cannot be.
    """
    if strategy not in STRATEGIES:
        raise WorkshopError(f"strategy {strategy!r} is not one of {', '.join(STRATEGIES)}.")
    if strategy == "plain" and ranks > 1:
        raise WorkshopError(
            f"plain transformers runs on one rank, not {ranks}; choose --strategy tensor, pipeline or data, "
            "or leave --ranks out."
        )
    # The other size may be 0 or more than the ranks: it is what is refused, and not what would be left.
    if tensor is None:
        tensor = max(1, ranks // max(1, pipeline or 1)) if strategy == "tensor" else 1
    if pipeline is None:
        pipeline = max(1, ranks // max(1, tensor)) if strategy == "pipeline" else 1
    return tensor, pipeline


def random_prompts(case: BenchCase, count: int) -> list[list[int]]:
    """Return so many random prompts, the same for every layout."""
    chance = random.Random(case.tokens)  # noqa: S311 - text to run, no secret
    vocabulary = find_architecture(case.model).vocabulary_size
    return [[chance.randrange(3, vocabulary) for _ in range(case.tokens)] for _ in range(count)]
