"""vLLM's memory lines, of versions 0.6 to 0.33: one table of sentences, read for every rank.

The sentences stand in vllm/worker/worker.py (0.6 to 0.8), vllm/v1/worker/gpu_worker.py,
vllm/v1/worker/gpu_model_runner.py, vllm/utils/mem_utils.py and vllm/v1/core/kv_cache_utils.py.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from workshop_utils.memory.logs.facts import KvPool, RankMemory, Refusal, Setup
from workshop_utils.memory.logs.text import COUNT, FIGURE, GIB, all_found, found, gib_bytes, whole

# Until 0.8.2 vLLM wrote "GB" and divided by 2**30: a Gemma 3 27B on four GPUs logged 13.1665 "GB" a rank, and
# 4 × 13.1665 × 10**9 bytes are fewer than its weights (https://github.com/vllm-project/vllm/issues/15676).
LOADED = rf"{FIGURE}\s?Gi?B"
# sentence -> the fields of RankMemory that its groups hold. Of two that state one
# field the later here counts: captured graphs over estimated ones, the loader, with most digits, over all.
SENTENCES = (
    (
        rf"model weights take {GIB}; non_torch_memory takes {GIB}; "
        rf"PyTorch activation peak memory takes {GIB}; the rest of the memory reserved for KV Cache is {GIB}",
        ("weights_bytes", "non_torch_bytes", "activation_bytes", "kv_pool_bytes"),
    ),
    (rf"total_gpu_memory \({GIB}\)", ("gpu_total_bytes",)),
    (
        rf"torch peak memory increase: {GIB}; non-torch forward increase memory: {GIB}; "
        rf"weights memory: {GIB}",
        ("activation_bytes", "non_torch_bytes", "weights_bytes"),
    ),
    (
        rf"torch peak memory increase: {GIB}; total consumed \(from mem_get_info\): {GIB}; "
        rf"weights memory: {GIB}",
        ("activation_bytes", "consumed_bytes", "weights_bytes"),
    ),
    (rf"Available KV cache memory: {GIB}", ("kv_pool_bytes",)),
    (rf"Estimated CUDA graph memory: {GIB}", ("cuda_graph_bytes",)),
    (rf"Graph capturing finished in [\d.]+ secs, took {GIB}", ("cuda_graph_bytes",)),
    (
        rf"Free memory on device(?: [\w:]+)? \({FIGURE}/{GIB}\) on startup",
        ("gpu_free_bytes", "gpu_total_bytes"),
    ),
    (
        rf"Actual usage is {GIB} for weight, {GIB} for peak activation, {GIB} for non-torch memory, "
        rf"and {GIB} for CUDAGraph memory",
        ("weights_bytes", "activation_bytes", "non_torch_bytes", "cuda_graph_bytes"),
    ),
    (
        rf"Actual usage is {GIB} for consumed memory \(weights \+ non-torch\), {GIB} for peak activation, "
        rf"and {GIB} for CUDAGraph memory",
        ("consumed_bytes", "activation_bytes", "cuda_graph_bytes"),
    ),
    (rf"Current kv cache memory in use is {GIB}", ("kv_pool_bytes",)),
    (rf"(?:Model loading|Loading model weights) took {LOADED}", ("weights_bytes",)),
)
# "(Worker_PP1_TP0 pid=1)", "(VllmWorker rank=3 pid=1)"; the worker of a single GPU has no rank.
NAMED = re.compile(r"(?:DP(?P<dp>\d+))?_?(?:PP(?P<pp>\d+))?_?(?:TP(?P<tp>\d+))?(?:_EP\d+)? pid=")
NUMBERED = re.compile(r"Worker rank=(\d+) pid=")
POOL_TOKENS = rf"KV cache size: {COUNT} tokens"
CONCURRENCY = rf"Maximum concurrency for {COUNT} tokens per request: {FIGURE}x"
TOO_SMALL = (
    rf"\({FIGURE} GiB KV cache is needed, which is larger than the available KV cache memory \({GIB}\)"
    rf"(?:\. Based on the available memory, the estimated maximum model length is {COUNT})?"
)
STORED_TOKENS = (
    rf"max seq len \({COUNT}\) is larger than the maximum number of tokens "
    rf"that can be stored in KV cache \({COUNT}\)"
)
NO_MEMORY = r"No available memory for the cache blocks"
IN_USE = rf"on startup is less than desired GPU memory utilization \({FIGURE}, {FIGURE} GiB\)"


def read_ranks(text: str, setup: Setup) -> tuple[RankMemory, ...]:
    """Return what each rank reported, by rank; ranks of replicas after the first are left out."""
    ranks: dict[int | None, RankMemory] = {}
    for sentence, names in SENTENCES:
        for match in all_found(sentence, text):
            rank = rank_of(text, match.start(), setup)
            if rank == OTHER_REPLICA:
                continue
            sizes = {name: gib_bytes(figure) for name, figure in zip(names, match.groups(), strict=True)}
            ranks[rank] = replace(ranks.get(rank, RankMemory(rank=rank)), **sizes)
    return tuple(ranks[rank] for rank in sorted(ranks, key=lambda rank: -1 if rank is None else rank))


OTHER_REPLICA = -2


def rank_of(text: str, position: int, setup: Setup) -> int | None:
    """Return the rank that the prefix of the line at ``position`` names."""
    prefix = text[text.rfind("\n", 0, position) + 1 : position]
    if numbered := NUMBERED.search(prefix):
        return int(numbered[1])
    for named in NAMED.finditer(prefix):
        if int(named["dp"] or 0) > 0:
            return OTHER_REPLICA
        if named["pp"] or named["tp"]:
            return int(named["pp"] or 0) * (setup.tensor_parallel_size or 1) + int(named["tp"] or 0)
    return None


def read_pool(text: str, setup: Setup) -> KvPool:
    """Return the size of the first replica's KV cache; versions to 0.8 print blocks of 16 tokens."""
    tokens, concurrency = own(POOL_TOKENS, text, setup), own(CONCURRENCY, text, setup)
    blocks = found(rf"# (?:GPU|cuda) blocks: {COUNT}", text)
    return KvPool(
        tokens=whole(tokens[1]) if tokens else whole(blocks[1]) * 16 if blocks else None,
        max_concurrency=float(concurrency[2]) if concurrency else None,
        tokens_per_request=whole(concurrency[1]) if concurrency else None,
    )


def own(pattern: str, text: str, setup: Setup) -> re.Match[str] | None:
    """Return the last match that no replica after the first printed: each sizes its own cache."""
    matches = [
        match for match in all_found(pattern, text) if rank_of(text, match.start(), setup) != OTHER_REPLICA
    ]
    return matches[-1] if matches else None


def read_refusal(text: str) -> Refusal | None:
    """Return why vLLM did not start, None where it says nothing of memory."""
    if match := found(TOO_SMALL, text):
        longest = whole(match[3]) if match[3] else None
        return Refusal("kv_cache_too_small", gib_bytes(match[1]), gib_bytes(match[2]), longest)
    if match := found(STORED_TOKENS, text):
        return Refusal("kv_cache_too_small", longest_model_len=whole(match[2]))
    if match := found(IN_USE, text):
        return Refusal("gpu_in_use", needed_bytes=gib_bytes(match[2]))
    return Refusal("no_kv_memory") if found(NO_MEMORY, text) else None


def refused_length(text: str) -> int | None:
    """Return max_model_len as the refusal repeats it, in tokens."""
    patterns = (rf"models?'s max seq len \({COUNT}\)", STORED_TOKENS)
    lengths: Iterator[int] = (whole(match[1]) for pattern in patterns if (match := found(pattern, text)))
    return next(lengths, None)
