"""From pasted text to facts: which kind of log it is, and what is in it."""

import codecs
from dataclasses import replace
from typing import BinaryIO

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.logs.cuda_oom import read_cuda_oom
from workshop_utils.memory.logs.facts import LogFacts
from workshop_utils.memory.logs.setup import last_start, read_setup
from workshop_utils.memory.logs.text import clean, message
from workshop_utils.memory.logs.vllm import read_pool, read_ranks, read_refusal, refused_length
from workshop_utils.units import MIB

# A start writes some hundred kilobytes; what is longer holds a day of serving, or is no log.
MOST_BYTES = 16 * MIB
WANTED = (
    "paste vLLM's start-up lines (such as `Available KV cache memory: …`) or torch's message "
    "`CUDA out of memory. Tried to allocate …`"
)
# vLLM's processes name themselves before each line.
VLLM_PROCESS = r"\((?:VllmWorker|EngineCore|Worker_|APIServer)[^()\n]{0,60}pid=\d+"
DRIVER_ERROR = r"CUDA error: out of memory|cudaErrorMemoryAllocation|CUDA driver error: out of memory"


def read_log(text: str) -> LogFacts:
    """Return the facts of a log of vLLM or of torch out of memory, whatever stands around its lines.

    Of several starts of vLLM the last counts. Raises WorkshopError for a text without either.
    """
    if len(text) > MOST_BYTES:
        raise too_long(f"{len(text):,} characters")
    if not text.strip():
        raise WorkshopError(f"the log is empty; {WANTED}.")
    cleaned = clean(text)
    start = cleaned[last_start(cleaned) :]
    setup = read_setup(cleaned)
    oom, refusal, pool = read_cuda_oom(start), read_refusal(start), read_pool(start, setup)
    ranks = read_ranks(start, setup)
    if setup.max_model_len is None and (length := refused_length(start) or pool.tokens_per_request):
        setup = replace(setup, max_model_len=length)
    spoken = bool(ranks or refusal or pool.tokens or setup.version or message(VLLM_PROCESS).search(start))
    if oom is None and not any((ranks, refusal, pool.tokens, setup.version)):
        raise unrecognised(cleaned)
    return LogFacts("vllm" if spoken else "cuda_oom", setup, ranks, pool, refusal, oom)


def read_stream(stream: BinaryIO, name: str) -> LogFacts:
    """Return the facts of a binary stream called ``name``; WorkshopError for what is no text or too long."""
    content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise too_long(f"more than {MOST_BYTES // MIB} MiB")
    # PowerShell's > writes UTF-16 with a byte order mark.
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return read_log(content.decode("utf-16", errors="replace"))
    if b"\0" in content:
        raise WorkshopError(f"{name} is binary, not text; {WANTED}.")
    return read_log(content.decode("utf-8", errors="replace"))


def too_long(length: str) -> WorkshopError:
    return WorkshopError(
        f"the log has {length}, and a start takes at most {MOST_BYTES // MIB} MiB; cut it with "
        "`head -n 5000 LOG`, or give the last lines where it failed."
    )


def unrecognised(text: str) -> WorkshopError:
    """Return the sentence for a text without a figure of memory."""
    if message(DRIVER_ERROR).search(text):
        return WorkshopError(
            "the driver's `CUDA error: out of memory` carries no sizes, so there is nothing to compare; "
            f"{WANTED}."
        )
    return WorkshopError(
        f"nothing about GPU memory was recognised in {len(text.splitlines()):,} lines; {WANTED}."
    )
