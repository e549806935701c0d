"""The largest context, or batch, with which a workload still ends on GPUs of one type.

The memory that a run cannot do without grows with both, so a bisection of that bounds the answer cheaply.
Below the bound the allocator decides, and what it cuts its segments into makes the answer uneven: a length
may fit where a slightly shorter one does not. What is returned was tried and fits.
"""

from collections.abc import Callable, Generator
from typing import Any

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.engines.vllm import budget_of
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.models.architecture import Architecture

# A search pauses after each estimate, so that a caller with other work can go on in between.
Search = Generator[None, None, int | None]
Test = Callable[[int], bool]
# The search ends within a thousandth of its answer, because a predicted peak is no more exact than that.
FINE = 10


def largest_tokens(architecture: Architecture, gpu: Gpu, most: int, **workload: Any) -> int | None:
    """Return the most tokens up to ``most`` that fit, to 0.1 %; None where not even one does.

    ``workload`` are the other arguments of ``estimate()``. For vLLM it is the largest max_model_len with
    which it starts; a batch beyond its cache waits. Raises WorkshopError for a workload that cannot be.
    """
    return finished(search_tokens(architecture, gpu, most, **workload))


def largest_batch(architecture: Architecture, gpu: Gpu, most: int, **workload: Any) -> int | None:
    """Return the most sequences up to ``most`` that fit, to 0.1 %; None where not even one does.

    For vLLM, those that run at a time: its cache holds them all and max_num_seqs lets them in.
    """
    return finished(search_batch(architecture, gpu, most, **workload))


def search_tokens(architecture: Architecture, gpu: Gpu, most: int, **workload: Any) -> Search:
    """Search for ``largest_tokens``, pausing after each estimate."""
    return search(lambda tokens: estimate(architecture, gpu=gpu, tokens=tokens, **workload), gpu, most)


def search_batch(architecture: Architecture, gpu: Gpu, most: int, **workload: Any) -> Search:
    """Search for ``largest_batch``, pausing after each estimate."""
    if workload.get("engine") == "vllm":
        return requests_at_a_time(architecture, gpu, most, **workload)
    return search(lambda batch: estimate(architecture, gpu=gpu, batch=batch, **workload), gpu, most)


def fits(result: Estimate, gpu: Gpu) -> bool:
    """Return whether a run ends on this type; with vLLM, whether it starts: one request fits its cache."""
    if "max_concurrency" in result.figures:
        return bool(result.figures["max_concurrency"] >= 1)
    return result.fits(gpu)


def requests_at_a_time(architecture: Architecture, gpu: Gpu, most: int, **workload: Any) -> Search:
    """Return how many requests the cache of all replicas holds; there is nothing to search for."""
    yield
    asked = estimate(architecture, gpu=gpu, batch=1, **workload).workload
    pool = budget_of(architecture, asked, gpu).pool
    requests = min(int(pool.concurrency(asked.tokens)), pool.settings.sequences)
    return min(most, requests * asked.data_parallel) or None


def search(result_of: Callable[[int], Estimate], gpu: Gpu, most: int) -> Search:
    """Search for the largest number whose estimate fits: a bound, a number below that fits, then between."""

    def may_fit(number: int) -> bool:
        result = result_of(number)
        if "max_concurrency" in result.figures:
            return fits(result, gpu)
        return all(rank.needed_bytes <= gpu.usable_bytes for rank in result.per_gpu)

    def does_fit(number: int) -> bool:
        return fits(result_of(number), gpu)

    bound = most if may_fit(most) else (yield from bisected(may_fit, 0, most))
    if bound == 0:
        return None
    tried, step = bound, max(1, bound >> 3)
    while not does_fit(tried):
        yield
        bound, tried, step = tried, max(0, tried - step), step * 2
        if tried == 0:
            break
    if tried == bound:
        return tried
    return (yield from bisected(does_fit, tried, bound)) or None


def bisected(test: Test, low: int, high: int) -> Generator[None, None, int]:
    """Return a number that passes, and one at most 0.1 % above fails; ``low`` passes and ``high`` fails."""
    while high - low > max(1, low >> FINE):
        middle = (low + high) // 2
        yield
        low, high = (middle, high) if test(middle) else (low, middle)
    return low


def finished(search: Search) -> int | None:
    """Return what a search finds."""
    while True:
        try:
            next(search)
        except StopIteration as found:
            result: int | None = found.value
            return result
