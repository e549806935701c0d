"""What a prompt and a step of decoding take to read and to compute, whatever GPUs do it."""

import functools
from typing import Any

from workshop_utils.models.architecture import Architecture, Attention, LatentAttention
from workshop_utils.models.parameters import count_parameters


@functools.lru_cache(maxsize=256)
def passed_parameters(architecture: Architecture) -> int:
    """Return the parameters that a token is multiplied with: not an embedding that is only looked up."""
    counts = count_parameters(architecture)
    looked_up = 0 if architecture.tied_embeddings else counts.by_part.get("embedding", 0)
    return counts.active - counts.by_part.get("vision", 0) - looked_up


@functools.lru_cache(maxsize=4096)
def read_parts(architecture: Architecture, weight_bytes: int, batch: int) -> tuple[float, float, float]:
    """Return the bytes of what every token passes, of the chosen experts, and of one expert of each layer.

    With ``k`` of ``n`` experts for each token, a router without a preference chooses 1 - (1 - k/n)^batch.
    """
    counts = count_parameters(architecture)
    each = weight_bytes / counts.total
    experts = counts.by_part.get("experts", 0)
    idle = counts.total - counts.active
    chosen = 1.0
    if experts and idle:
        share = 1 - idle / experts
        chosen = 1 - (1 - share) ** batch
    looked_up = 0 if architecture.tied_embeddings else counts.by_part.get("embedding", 0)
    still = counts.total - experts - counts.by_part.get("vision", 0) - looked_up
    routed = max((layer.experts.routed for layer in architecture.layers if layer.experts), default=1)
    return each * still, each * experts * chosen, each * experts / routed


def attention_flops(architecture: Architecture, batch: int, prompt: int) -> float:
    """Return the operations of scores and their sums over a causal prompt; state spaces have none."""
    total = 0.0
    for layer in architecture.layers:
        mixer: Any = layer.attention
        if isinstance(mixer, Attention):
            width = mixer.heads * mixer.head_dim
            window = mixer.window or prompt
        elif isinstance(mixer, LatentAttention):
            width, window = mixer.heads * mixer.value_dim, prompt
        else:
            continue
        seen = min(window, prompt)
        pairs = seen * seen / 2 + (prompt - seen) * seen
        total += 4 * width * pairs * batch
    return total


def caches_latents(architecture: Architecture) -> bool:
    """Return whether all layers cache a latent, which tensor ranks cannot cut."""
    return all(isinstance(layer.attention, LatentAttention) for layer in architecture.layers)
