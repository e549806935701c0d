"""A comparison as text: what ran, predicted beside actual, the largest gap, and what would make it fit."""

import textwrap
from collections.abc import Iterator

from workshop_utils.memory.logs.compare import Comparison
from workshop_utils.memory.logs.question import Question
from workshop_utils.memory.logs.rows import Row
from workshop_utils.memory.logs.text import format_size
from workshop_utils.units import format_gib

LINE_WIDTH = 100
OUTCOMES = {
    "started": "it started",
    "out_of_memory": "it ran out of memory",
    "kv_cache_too_small": "one request is longer than the KV cache that is left",
    "no_kv_memory": "no memory is left for a KV cache",
    "gpu_in_use": "the GPU has less free memory than it was to take",
    "unfinished": "the log ends before the KV cache is made",
}
COLUMNS = (18, 18, 10)
# What to add so that there is a prediction; the sentence says what is known without it.
HOW_TO_ADD = {
    "--model": "--model MODEL (the log names none that is known)",
    "--tokens": "--tokens N (prompt and answer of one sequence)",
    "--dtype": "--dtype PRECISION (the log does not settle it)",
    "--gpu": "--gpu NAME (the log does not state the GPU's memory)",
}


def comparison_text(comparison: Comparison) -> str:
    """Return the lines that ``workshop read-log`` prints; sizes in GiB, as the logs have them."""
    blocks = [
        [textwrap.fill(heading(comparison), LINE_WIDTH)],
        table(comparison),
        list(remarks(comparison)),
        list(advice_lines(comparison)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def heading(comparison: Comparison) -> str:
    """Return what ran and how it ended, in one sentence."""
    facts, question = comparison.facts, comparison.question
    version = f" {facts.setup.version}" if facts.setup.version else ""
    ran = [("vLLM" if facts.engine == "vllm" else facts.engine) + version]
    memory = f"a GPU of {format_gib(facts.gpu_bytes)}" if facts.gpu_bytes else ""
    if question is not None:
        ran += list(job(question))
        memory = question.gpu.name if question.gpu else memory
    elif facts.setup.model:
        ran.append(facts.setup.model)
    where = f" on {memory}" if memory else ""
    return f"{', '.join(ran)}{where}: {OUTCOMES[facts.outcome]}."


def job(question: Question) -> Iterator[str]:
    """Yield model, length, batch and layout in words."""
    yield f"{question.architecture.name} in {question.dtype} at {question.tokens:,} tokens"
    if question.engine != "vllm":
        yield f"batch {question.batch:,}"
    if question.tensor_parallel > 1:
        yield f"tensor parallel {question.tensor_parallel}"
    if question.pipeline_parallel > 1:
        yield f"pipeline parallel {question.pipeline_parallel}"
    if question.data_parallel > 1:
        yield f"data parallel {question.data_parallel}"
    if question.expert_parallel:
        yield f"whole experts over {question.tensor_parallel * question.data_parallel} ranks"


def table(comparison: Comparison) -> list[str]:
    """Return a line for each quantity: predicted, actual, error."""
    if not comparison.rows:
        return []
    width = max(len(row.name) for row in comparison.rows)
    head = cells(width, "", "predicted", "actual", "error")
    return [head, *(row_line(row, width) for row in comparison.rows)]


def row_line(row: Row, width: int) -> str:
    error = "" if row.error_percent is None else f"{row.error_percent:+.1f} %"
    at_least = "≥ " if row.at_least and row.actual is not None else ""
    return cells(width, row.name, amount(row.predicted, row), at_least + amount(row.actual, row), error)


def cells(width: int, name: str, *texts: str) -> str:
    columns = "".join(f"{text:>{column}}" for text, column in zip(texts, COLUMNS, strict=True))
    return f"{name:<{width}}{columns}".rstrip()


def amount(value: float | None, row: Row) -> str:
    """Return a quantity in its unit; hundredths of a GiB, as vLLM prints them."""
    if value is None:
        return "–"
    if row.unit == "bytes":
        return format_size(value)
    return f"{value:,.0f} tokens" if row.unit == "tokens" else f"{value:,.2f} requests"


def remarks(comparison: Comparison) -> Iterator[str]:
    """Yield the largest gap, what was assumed, and what a prediction still needs."""
    if comparison.explanation:
        yield wrapped(comparison.explanation)
    if comparison.assumed:
        yield wrapped(f"Assumed, since the log does not say: {'; '.join(comparison.assumed)}.")
    if comparison.missing:
        yield wrapped(f"For a prediction, add {', '.join(HOW_TO_ADD[name] for name in comparison.missing)}.")
    if comparison.unpredicted:
        yield wrapped(f"There is no prediction: {comparison.unpredicted}")


def advice_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the changes that fit by our estimate, one a line."""
    if not comparison.advice:
        return
    yield (
        "Each of these alone would fit, by our estimate:"
        if len(comparison.advice) > 1
        else "By our estimate:"
    )
    for piece in comparison.advice:
        yield textwrap.fill(
            f"  {piece.option} {piece.value}: {piece.sentence}", LINE_WIDTH, subsequent_indent="    "
        )


def wrapped(text: str) -> str:
    return textwrap.fill(text, LINE_WIDTH)
