"""What one run of ``workshop bench memory`` asks for, and which runs a machine does by itself."""

import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.units import GIB

ATTENTION, CACHES = ("sdpa", "eager"), ("dynamic", "static")
# Enough for the cache to grow token by token after the prefill, and short beside every prompt.
NEW_TOKENS = 16
# A machine's default set, by the memory of its smallest GPU.
LARGE_BYTES, MEDIUM_BYTES = 70 * GIB, 20 * GIB
# Beyond these a typing mistake is likelier than a measurement.
LARGEST = {"tokens": 10**7, "batch": 10**4, "pipeline_parallel": 64}


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """``batch`` prompts of ``tokens`` tokens each, then ``NEW_TOKENS`` new ones; validates itself."""

    model: str
    tokens: int
    batch: int = 1
    attention: str = "sdpa"
    cache: str = "dynamic"
    pipeline_parallel: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise WorkshopError(f"model {self.model!r} is no name; give one of the catalogue or a folder.")
        for name, most in LARGEST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise WorkshopError(
                    f"{name} {value!r} is out of range; give a whole number from 1 to {most:,}."
                )
        for name, choices in (("attention", ATTENTION), ("cache", CACHES)):
            if getattr(self, name) not in choices:
                raise WorkshopError(
                    f"{name} {getattr(self, name)!r} is not measured; choose {' or '.join(choices)}."
                )

    @property
    def total_tokens(self) -> int:
        """Tokens of one sequence at the end: prompt and answer together, as ``estimate`` counts them."""
        return self.tokens + NEW_TOKENS

    @property
    def label(self) -> str:
        """One line for a reader, for example ``llama-3.1-8b 4,096 × 8 sdpa dynamic``."""
        stages = f" pp={self.pipeline_parallel}" if self.pipeline_parallel > 1 else ""
        return f"{self.model} {self.tokens:,} × {self.batch} {self.attention} {self.cache}{stages}"

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def combinations(lists: Mapping[str, Sequence[object]]) -> tuple[MemoryCase, ...]:
    """Return a case for every combination; the keys are the fields of ``MemoryCase``, model first."""
    return tuple(
        case_of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())
    )


def case_of(values: Mapping[str, object]) -> MemoryCase:
    """Return the case with these fields; WorkshopError for unknown or missing ones."""
    known = {field.name for field in fields(MemoryCase)}
    unknown = sorted(values.keys() - known)
    if unknown or not {"model", "tokens"} <= values.keys():
        what = f"has {', '.join(unknown)}" if unknown else "lacks model or tokens"
        raise WorkshopError(
            f"a case {what}; a case is for example {json.dumps({'model': 'qwen3-8b', 'tokens': 4096})}, "
            f"with any of {', '.join(field.name for field in fields(MemoryCase))}."
        )
    return MemoryCase(**values)  # type: ignore[arg-type]


def read_cases(file: Path) -> tuple[MemoryCase, ...]:
    """Return the cases of a file of JSON lines, one object a line; WorkshopError with the line's number."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkshopError(f"cannot read the cases in {file} ({error}); give a text file.") from error
    cases = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise WorkshopError(f"line {number} of {file} is no JSON ({error}); write one object.") from error
        if not isinstance(values, dict):
            raise WorkshopError(f"line {number} of {file} is no JSON object; write one object a line.")
        cases.append(case_of(values))
    if not cases:
        raise WorkshopError(f"{file} holds no case; write one JSON object a line.")
    return tuple(cases)


def default_cases(smallest_gpu_bytes: int | None, gpus: int) -> tuple[MemoryCase, ...]:
    """Return the set of ``bench_memory.toml`` for a machine; without a GPU ``smallest_gpu_bytes`` is None."""
    if smallest_gpu_bytes is None:
        size = "cpu"
    else:
        size = next(
            (name for name, least in (("large", LARGE_BYTES), ("medium", MEDIUM_BYTES))
             if smallest_gpu_bytes >= least),
            "small",
        )  # fmt: skip
    with Path(__file__).with_name("bench_memory.toml").open("rb") as file:
        entries = tomllib.load(file)[size]
    cases = [case for entry in entries for case in combinations({"model": entry.pop("models"), **entry})]
    return tuple(case for case in cases if case.pipeline_parallel <= max(gpus, 1))
