"""How vLLM was started: its configuration line, its non-default arguments, its own sentences."""

import re

from workshop_utils.memory.logs.facts import Setup
from workshop_utils.memory.logs.text import FIGURE, found

# "Initializing a V1 LLM engine (v0.26.0) with config: model='…', …" from 0.8 on, "a V0" or "an" before that:
# vllm/v1/engine/core.py, and VllmConfig.__str__ in vllm/config/vllm.py.
START = re.compile(r"Initializing an? (?:V[01] )?LLM engine(?: \(v?([\w.+]{1,60})\))? with config:")
CONFIG_LENGTH = 6000
# As vLLM repeats them, else as they were typed.
ARGUMENTS = (
    r"non-default args: ([^\n]*)",
    r"args: Namespace\(([^\n]*)",
    r"(?:vllm serve|api_server) ([^\n]*)",
)
# key=…, 'key': …, --key …, with the value in quotes or up to what ends it.
VALUE = r"['\"]?\s*[=:\s]\s*(?:'([^'\n]{1,300})'|\"([^\"\n]{1,300})\"|([^\s,)}]+))"
FLAGS = {"True": True, "False": False}
SERVED = r"vllm serve ([\w./~][^\s]{0,300})"
VERSION = r"(?:vLLM API server version|vLLM version|█ version) v?(\d[\w.+]{0,60})"
UTILIZATION = (
    rf"Desired GPU memory utilization is \({FIGURE},",
    rf"less than desired GPU memory utilization \({FIGURE},",
    rf"The current --gpu-memory-utilization={FIGURE} is",
    rf"x gpu_memory_utilization \({FIGURE}\)",
)
# An option without a value, and what only a start with it prints: "_EP3" at the end of a worker's name
# (setup_proc_title_and_log_prefix, vllm/v1/executor/multiproc_executor.py), "[EP Rank 3/8] Expert parallelism
# is enabled" (vllm/model_executor/layers/fused_moe). The configuration line does not have it.
SPREAD_OPTION = re.compile(r"(?:^|\s)(?:--enable[-_]expert[-_]parallel|-ep)(?=\s|$)")
SPREAD = r"Worker(?:_[A-Z]+\d+)*_EP\d+ pid=|\[EP Rank \d+/\d+\] Expert parallelism is enabled"
MOST_DIGITS = 12
BATCHED = r"Chunked prefill is enabled with max_num_batched_tokens=(\d{1,12})"


def last_start(text: str) -> int:
    """Return where the last start of an engine is told, 0 where none is."""
    starts = [match.start() for match in START.finditer(text)]
    return starts[-1] if starts else 0


def read_setup(text: str) -> Setup:
    """Return what the log says of the last start; the configuration counts before the arguments."""
    begin = last_start(text)
    start = START.search(text, begin)
    config = text[start.end() : start.end() + CONFIG_LENGTH] if start else ""
    arguments = first_group(ARGUMENTS, text) or ""
    return Setup(
        version=(start[1] if start else None) or first_group((VERSION,), text),
        model=either_text("model", config, arguments) or first_group((SERVED,), text),
        dtype=(either_text("dtype", config, arguments) or "").removeprefix("torch.") or None,
        quantization=either_text("quantization", config, arguments),
        kv_cache_dtype=either_text("kv_cache_dtype", config, arguments),
        max_model_len=number("max_seq_len", config) or number("max_model_len", arguments),
        tensor_parallel_size=either("tensor_parallel_size", config, arguments),
        pipeline_parallel_size=either("pipeline_parallel_size", config, arguments),
        data_parallel_size=either("data_parallel_size", config, arguments),
        enable_expert_parallel=spreads_experts(text[begin:], config, arguments),
        gpu_memory_utilization=utilization(text, arguments),
        max_num_batched_tokens=number("max_num_batched_tokens", arguments)
        or whole_or_none(first_group((BATCHED,), text)),
        max_num_seqs=number("max_num_seqs", arguments),
        enforce_eager=FLAGS.get(either_text("enforce_eager", config, arguments) or ""),
    )


def value(key: str, text: str) -> str | None:
    """Return the value of ``key=…``, ``'key': …`` or ``--key …``; quotes taken off, None for None."""
    name = key.replace("_", "[_-]")
    match = re.search(rf"(?:^|[\s,({{'\"-]){name}{VALUE}", text)
    given = next((group for group in match.groups() if group), None) if match else None
    return None if given in {None, "None", "auto"} else given


def number(key: str, text: str) -> int | None:
    return whole_or_none(value(key, text))


def either_text(key: str, config: str, arguments: str) -> str | None:
    return value(key, config) or value(key, arguments)


def either(key: str, config: str, arguments: str) -> int | None:
    return number(key, config) or number(key, arguments)


def spreads_experts(started: str, config: str, arguments: str) -> bool | None:
    """Return whether experts stand whole on a rank each; ``started`` is the log from the last start on."""
    told = FLAGS.get(either_text("enable_expert_parallel", config, arguments) or "")
    if told is None and (SPREAD_OPTION.search(arguments) or found(SPREAD, started)):
        return True
    return told


def whole_or_none(text: str | None) -> int | None:
    return int(text) if text and len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() else None


def first_group(patterns: tuple[str, ...], text: str) -> str | None:
    """Return the first group of the first pattern that matches anywhere."""
    for pattern in patterns:
        if match := found(pattern, text):
            return match[1]
    return None


def utilization(text: str, arguments: str) -> float | None:
    """Return gpu_memory_utilization: as given, else as one of vLLM's sentences repeats it."""
    told = value("gpu_memory_utilization", arguments) or first_group(UTILIZATION, text)
    try:
        share = float(told) if told else None
    except ValueError:
        return None
    return share if share and 0 < share <= 1 else None
