"""What lets vLLM start: a shorter request, another share of the GPU, a smaller cache, fewer sequences."""

import math
from collections.abc import Iterator

from workshop_utils.memory.logs.advice_layout import more_gpus, smaller_weights
from workshop_utils.memory.logs.facts import LogFacts, RankMemory
from workshop_utils.memory.logs.question import Question
from workshop_utils.memory.logs.room import Advice, Room, first, largest, with_tokens

# vLLM's blocks hold 16 tokens.
BLOCK_TOKENS = 16
# A context needs memory too; beyond this share nothing is left for it.
MOST_UTILIZATION = 0.98
FEWER_SEQUENCES = (256, 128, 64, 32, 16)


def vllm_advice(facts: LogFacts, question: Question, reported: RankMemory, room: Room) -> Iterator[Advice]:
    """Yield what lets vLLM start, or, where it did, the longest request that it could take."""
    if facts.outcome == "gpu_in_use":
        yield from free_share(question, reported, room)
        return
    if facts.outcome == "out_of_memory":
        yield from lower_share(facts, question, room)
        return
    if room.holds(question):
        if facts.outcome == "no_kv_memory":
            return  # what the estimate lacks is not known, so neither is what would help
        most = question.architecture.max_positions or question.tokens
        longest = largest(range(BLOCK_TOKENS, most + 1, BLOCK_TOKENS), with_tokens(question), room)
        if longest and longest > question.tokens:
            yield Advice(
                "--max-model-len",
                str(longest),
                f"one request of up to {longest:,} tokens would fit at a time.",
            )
        return
    longest = largest(range(BLOCK_TOKENS, question.tokens, BLOCK_TOKENS), with_tokens(question), room)
    if longest:
        yield Advice("--max-model-len", str(longest), f"requests of up to {longest:,} tokens fit.")
    yield from higher_share(question, reported, room)
    yield from smaller_cache(question, room)
    yield from fewer_sequences(question, room)
    yield from smaller_weights(question, room)
    yield from more_gpus(question, room)


def free_share(question: Question, reported: RankMemory, room: Room) -> Iterator[Advice]:
    """Yield the share of the GPU that is free now, where the model starts in it."""
    free, total = reported.gpu_free_bytes, reported.gpu_total_bytes
    if not free or not total:
        return
    share = math.floor(100 * free / total) / 100
    if share > 0 and room.holds(question.changed(gpu_memory_utilization=share)):
        yield Advice(
            "--gpu-memory-utilization", f"{share:.2f}", "what is free on the GPU now is enough for the model."
        )


def lower_share(facts: LogFacts, question: Question, room: Room) -> Iterator[Advice]:
    """Yield the share that leaves room outside vLLM's budget for the allocation that failed."""
    oom, share, total = facts.oom, question.gpu_memory_utilization, facts.gpu_bytes
    if oom is None or share is None or not total:
        return
    lacking = max(0, oom.tried_bytes - (oom.free_bytes or 0))
    lower = math.floor(100 * (share - lacking / total) - 0.5) / 100
    if 0 < lower < share and room.holds(question.changed(gpu_memory_utilization=lower)):
        yield Advice(
            "--gpu-memory-utilization", f"{lower:.2f}",
            "leaves the allocation that failed its place beside the KV cache, and one request still fits.",
        )  # fmt: skip


def higher_share(question: Question, reported: RankMemory, room: Room) -> Iterator[Advice]:
    """Yield the smallest share of the GPU that is enough, within what is free."""
    most = MOST_UTILIZATION
    if reported.gpu_free_bytes and reported.gpu_total_bytes:
        most = min(most, reported.gpu_free_bytes / reported.gpu_total_bytes)
    start = question.gpu_memory_utilization or 0.0
    shares = [share / 100 for share in range(1, 100) if start < share / 100 <= most]
    if share := first(shares, lambda value: question.changed(gpu_memory_utilization=value), room):
        yield Advice("--gpu-memory-utilization", f"{share:.2f}", f"{question.tokens:,} tokens fit.")


def smaller_cache(question: Question, room: Room) -> Iterator[Advice]:
    """Yield a KV cache of half the bytes."""
    if question.kv_dtype != "fp8" and room.holds(question.changed(kv_dtype="fp8")):
        yield Advice("--kv-cache-dtype", "fp8", f"{question.tokens:,} tokens fit with a KV cache in fp8.")


def fewer_sequences(question: Question, room: Room) -> Iterator[Advice]:
    """Yield fewer sequences at a time: vLLM's profiling run samples for all of them, over the vocabulary."""
    counts = [count for count in FEWER_SEQUENCES if count < (question.max_num_seqs or FEWER_SEQUENCES[0] + 1)]
    if count := first(counts, lambda value: question.changed(max_num_seqs=value), room):
        yield Advice(
            "--max-num-seqs",
            str(count),
            "fewer sequences at a time leave the KV cache what their sampler took.",
        )
