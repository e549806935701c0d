"""What is asked of a model: how much text, in which precision, on which engine and layout."""

import functools
import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from workshop_utils.errors import WorkshopError
from workshop_utils.memory import engines

# Beyond these, a typing mistake is likelier than a plan: a thousand times the longest published context,
# more sequences than any engine schedules, more GPUs than any layout here.
MOST_TOKENS = 10**9
MOST_SEQUENCES = 10**6
MOST_RANKS = 4096
# Tokens of the answer where nobody says: enough for the decoding to show, short beside every prompt.
NEW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Workload:
    """``batch`` sequences of ``tokens`` tokens, of which the last ``new_tokens`` are the answer.

    ``cache``: the KV cache grows (dynamic) or has its full size from the start (static). ``prefill_chunk``:
    prompt tokens computed at a time, None for all. ``padded``: prompts of unequal length. ``data_parallel``
    replicas share the batch. ``expert_parallel``: experts stand whole on one rank each, over all tensor and
    data parallel ranks, instead of being cut on every replica. ``cpu_memory_gib`` is what Accelerate may use
    of the host. The last four are vLLM's arguments, None for the version's defaults. Validates itself, with
    the engine's own rules.
    """

    tokens: int
    batch: int
    dtype: str
    kv_dtype: str
    engine: str
    attention: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: bool = False
    new_tokens: int = NEW_TOKENS
    cache: str = "dynamic"
    prefill_chunk: int | None = None
    padded: bool = False
    cpu_memory_gib: float | None = None
    engine_version: str | None = None
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None

    def __post_init__(self) -> None:
        check_range("tokens", self.tokens, MOST_TOKENS)
        check_range("batch", self.batch, MOST_SEQUENCES)
        check_range("new_tokens", self.new_tokens, MOST_TOKENS)
        for name in ("tensor", "pipeline", "data"):
            check_range(f"{name} parallel size", getattr(self, f"{name}_parallel"), MOST_RANKS)
        for name in ("prefill_chunk", "max_num_batched_tokens", "max_num_seqs"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), MOST_TOKENS)
        engine = find_engine(self.engine)
        check_choice("attention", self.attention, engine.ATTENTION, self.engine)
        check_choice("cache", self.cache, engine.CACHES, self.engine)
        if self.new_tokens > self.tokens:
            raise WorkshopError(
                f"new_tokens {self.new_tokens} are more than all {self.tokens} tokens; tokens counts prompt "
                "and answer together."
            )
        for option in ("prefill_chunk", "padded", "expert_parallel", *ENGINE_ONLY):
            if getattr(self, option) and option not in engine.OPTIONS:
                raise WorkshopError(
                    f"{option} {getattr(self, option)} says nothing to engine {self.engine}; leave it out, "
                    f"or choose engine {' or '.join(engines_with(option))}."
                )

    @property
    def prompt(self) -> int:
        """Tokens of the prompt; at least one."""
        return max(1, self.tokens - self.new_tokens)

    @property
    def answer(self) -> int:
        """Tokens of the answer: what the prompt leaves."""
        return self.tokens - self.prompt

    @property
    def expert_ranks(self) -> int:
        """Ranks that the experts are spread over; 1 where each rank has a share of every one."""
        return self.tensor_parallel * self.data_parallel if self.expert_parallel else 1

    @property
    def replica_batch(self) -> int:
        """Sequences of the fullest replica."""
        return -(-self.batch // self.data_parallel)


# Not of every engine: left out of the JSON where nobody gave them.
ENGINE_ONLY = (
    "cpu_memory_gib", "engine_version", "gpu_memory_utilization", "max_num_batched_tokens", "max_num_seqs",
)  # fmt: skip


def check_range(name: str, value: int, most: int) -> None:
    """Raise WorkshopError unless ``value`` is a whole number from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise WorkshopError(f"{name} {value} is out of range; give a whole number from 1 to {most:,}.")


def check_choice(name: str, value: str, choices: tuple[str, ...], engine: str) -> None:
    """Raise WorkshopError with the choices unless ``value`` is one of them."""
    if value not in choices:
        raise WorkshopError(f"{name} {value!r} is not one of engine {engine}; choices: {', '.join(choices)}.")


@functools.cache
def engine_names() -> tuple[str, ...]:
    """Return the engines that can be estimated: the files of ``engines/``."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(engines.__path__)))


def engines_with(option: str) -> tuple[str, ...]:
    """Return the engines that take an option."""
    return tuple(name for name in engine_names() if option in find_engine(name).OPTIONS)


@functools.cache
def find_engine(name: str) -> ModuleType:
    """Return the engine's module; WorkshopError with the choices."""
    if name not in engine_names():
        raise WorkshopError(f"engine {name!r} is not estimated; choices: {', '.join(engine_names())}.")
    return importlib.import_module(f"{engines.__name__}.{name}")
