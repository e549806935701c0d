"""What is asked of a model: how much text, in which precision, on which engine and layout."""

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from workshop_utils.errors import WorkshopError
from workshop_utils.memory import engines

# Beyond these, a typing mistake is likelier than a plan: a thousand times the longest published context,
# and more sequences than any engine schedules.
MOST_TOKENS = 10**9
MOST_SEQUENCES = 10**6


@dataclass(frozen=True, slots=True)
class Workload:
    """``batch`` sequences of ``tokens`` tokens (prompt and answer together); validates itself."""

    tokens: int
    batch: int
    dtype: str
    kv_dtype: str
    engine: str
    attention: str
    tensor_parallel: int
    pipeline_parallel: int

    def __post_init__(self) -> None:
        check_range("tokens", self.tokens, MOST_TOKENS)
        check_range("batch", self.batch, MOST_SEQUENCES)
        engine = find_engine(self.engine)
        for option, value, choices in (
            ("attention", self.attention, engine.ATTENTION),
            ("tensor parallel size", self.tensor_parallel, engine.TENSOR_PARALLEL),
            ("pipeline parallel size", self.pipeline_parallel, engine.PIPELINE_PARALLEL),
        ):
            if value not in choices:
                raise WorkshopError(
                    f"{option} {value} is not estimated yet for engine {self.engine}; choices: "
                    f"{', '.join(str(choice) for choice in choices)}."
                )


def check_range(name: str, value: int, most: int) -> None:
    """Raise WorkshopError unless ``value`` is a whole number from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise WorkshopError(f"{name} {value} is out of range; give a whole number from 1 to {most:,}.")


def engine_names() -> tuple[str, ...]:
    """Return the engines that can be estimated: the files of ``engines/``."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(engines.__path__)))


def find_engine(name: str) -> ModuleType:
    """Return the engine's module; WorkshopError with the choices."""
    if name not in engine_names():
        raise WorkshopError(f"engine {name!r} is not estimated yet; choices: {', '.join(engine_names())}.")
    return importlib.import_module(f"{engines.__name__}.{name}")
