"""The largest context and batch that fit, in a sentence each."""

from collections.abc import Generator
from html import escape
from typing import Any

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.largest import search_batch, search_tokens
from workshop_utils.models.architecture import Architecture
from workshop_utils.widgets.style import box_html
from workshop_utils.widgets.words import plural

TITLE = "<h4>The largest that fits</h4>"
# Where a config states no positions, and for a batch: beyond what anybody serves on these GPUs.
MOST_TOKENS, MOST_BATCH = 2**20, 4096


def largest_steps(
    architecture: Architecture, gpu: Gpu | None, workload: dict[str, Any]
) -> Generator[None, None, str]:
    """Search, pausing after each estimate; return the HTML."""
    if gpu is None:
        return box_html(
            TITLE, "<p>Choose a GPU type to see the largest context and the largest batch on it.</p>"
        )
    tokens, batch = workload["tokens"], workload["batch"]
    most = architecture.max_positions or MOST_TOKENS
    context = {name: value for name, value in workload.items() if name != "tokens"}
    others = {name: value for name, value in workload.items() if name != "batch"}
    longest = yield from search_tokens(architecture, gpu, most, **context)
    fullest = yield from search_batch(architecture, gpu, MOST_BATCH, **others)
    return box_html(
        TITLE,
        f"<p>{context_words(longest, most, bool(architecture.max_positions), gpu.name, batch)}</p>",
        f"<p>{batch_words(fullest, tokens, gpu.name, workload['engine'])}</p>",
    )


def context_words(longest: int | None, most: int, stated: bool, gpu: str, batch: int) -> str:
    """Say how long a context can be at this batch."""
    where = f"on {escape(gpu)} at batch {batch:,}"
    if longest is None:
        return f"✗ No context at all fits {where}: not even one token."
    if longest < most:
        return f"Longest context {where}: <b>{plural(longest, 'token')}</b>."
    why = "all positions that the model's config states" if stated else "or more"
    return f"Longest context {where}: <b>{plural(longest, 'token')}</b>, {why}."


def batch_words(fullest: int | None, tokens: int, gpu: str, engine: str) -> str:
    """Say how large a batch can be at this context; vLLM makes what is more wait."""
    where = f"on {escape(gpu)} at {plural(tokens, 'token')}"
    if fullest is None:
        return f"✗ No batch at all fits {where}: not even one sequence."
    more = " or more" if fullest == MOST_BATCH else ""
    if engine == "vllm":
        return f"At a time {where}: <b>{plural(fullest, 'request')}</b>{more}; further ones wait."
    return f"Largest batch {where}: <b>{plural(fullest, 'sequence')}</b>{more}."
