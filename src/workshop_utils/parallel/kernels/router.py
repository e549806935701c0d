"""Which experts a token passes, decided on the device: softmax, the largest few, their shares."""

import torch
import triton
import triton.language as tl


@triton.jit
def _route_kernel(
    logits, numbers, shares, count: tl.constexpr, padded_count: tl.constexpr, active: tl.constexpr,
    padded_active: tl.constexpr, normalised: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0)
    experts, choices = tl.arange(0, padded_count), tl.arange(0, padded_active)
    scores = tl.load(logits + token * count + experts, mask=experts < count, other=float("-inf"))
    scores = scores.to(tl.float32)
    # Whatever the logits are, even not numbers, the chosen must be experts that there are.
    scores = tl.where(tl.abs(scores) < float("inf"), scores, -3e38)
    left = tl.exp(scores - tl.max(scores, axis=0))
    left /= tl.sum(left, axis=0)
    chosen = tl.zeros([padded_active], tl.int32)
    given = tl.zeros([padded_active], tl.float32)
    for choice in tl.range(active):
        best = tl.argmax(left, axis=0)
        given = tl.where(choices == choice, tl.max(left, axis=0), given)
        chosen = tl.where(choices == choice, best, chosen)
        left = tl.where(experts == best, -1.0, left)
    if normalised:
        given /= tl.sum(given, axis=0)
    places = token * active + choices
    tl.store(numbers + places, chosen, mask=choices < active)
    tl.store(shares + places, given, mask=choices < active)


def route(logits: torch.Tensor, active: int, normalised: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return of each token its ``active`` experts' numbers, int32, and shares, float32: both [batch, active].

    ``logits`` [batch, experts], contiguous. Shares are the softmax's, ``normalised`` to a sum of 1; the
    likeliest expert comes first, of equal ones that with the lower number.
    """
    batch, count = logits.shape
    numbers = logits.new_empty(batch, active, dtype=torch.int32)
    shares = logits.new_empty(batch, active, dtype=torch.float32)
    _route_kernel[(batch,)](
        logits, numbers, shares, count=count, padded_count=triton.next_power_of_2(count), active=active,
        padded_active=triton.next_power_of_2(active), normalised=normalised, num_warps=1,
    )  # fmt: skip
    return numbers, shares
