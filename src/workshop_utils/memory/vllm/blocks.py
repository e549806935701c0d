"""The KV cache in blocks: which layers share a pool, how many blocks it has, and what one request takes.

Source: vllm/v1/core/kv_cache_utils.py (``get_kv_cache_groups``, ``get_max_concurrency_for_kv_cache_config``)
and vllm/v1/kv_cache_interface.py. All layers of a model draw blocks of one size from one pool. Layers of one
kind are put in groups of equal length; layer i of every group shares the same memory.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage, padded, rank_cached_values
from workshop_utils.models.architecture import Architecture, Attention, LatentAttention

BLOCK_TOKENS = 16
# Below this ratio of layer counts, the shorter kind is padded instead of splitting the longer one.
PAD_RATIO = 1.5
STATE_VALUE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Spec:
    """One kind of layer: tokens and bytes of a block on one rank; a ``state`` takes one block in all."""

    tokens: int
    page_bytes: int
    window: int | None = None
    state: bool = False

    def blocks(self, length: int, in_flight: int) -> int:
        """Return the blocks that one request of ``length`` tokens reserves.

        A sliding layer keeps its window and what is under way, and one block more because neither starts at
        a block's edge.
        """
        if self.state:
            return 1
        if self.window is None:
            return -(-length // self.tokens)
        return -(-min(self.window - 1 + in_flight, length) // self.tokens) + 1


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share a block table, by their numbers in the model."""

    spec: Spec
    layers: tuple[int, ...]

    def on(self, stage: Stage) -> int:
        """Return how many of its layers stand on this stage."""
        end = stage.first_layer + len(stage.layers)
        return sum(stage.first_layer <= layer < end for layer in self.layers)


def groups(architecture: Architecture, settings: Settings) -> tuple[Group, ...]:
    """Return the groups of the whole model. Raises WorkshopError where nothing is cached."""
    specs = layer_specs(architecture, settings)
    by_spec: dict[Spec, list[int]] = defaultdict(list)
    if len({(spec.window, spec.state) for spec in specs.values()}) == 1:
        # All need the same blocks: one group, and a block is as large as all its layers together.
        mean = sum(spec.page_bytes for spec in specs.values()) // len(specs)
        first = next(iter(specs.values()))
        return (Group(replace(first, page_bytes=mean), tuple(specs)),)
    largest = max(spec.page_bytes for spec in specs.values())
    for layer, spec in specs.items():
        by_spec[widened(spec, largest)].append(layer)
    counts = [len(layers) for layers in by_spec.values()]
    size = max(counts) if max(counts) < PAD_RATIO * min(counts) else min(counts)
    found = []
    for spec, layers in by_spec.items():
        parts = -(-len(layers) // size)
        found += [Group(spec, tuple(layers[part::parts])) for part in range(parts)]
    return tuple(found)


def widened(spec: Spec, page_bytes: int) -> Spec:
    """Return the spec with a block of ``page_bytes``: more tokens where they fit evenly, else padding."""
    if spec.state or page_bytes % spec.page_bytes:
        return replace(spec, page_bytes=page_bytes)
    return replace(spec, tokens=spec.tokens * (page_bytes // spec.page_bytes), page_bytes=page_bytes)


def layer_specs(architecture: Architecture, settings: Settings) -> dict[int, Spec]:
    """Return the spec of every layer that caches anything, by its number."""
    tokens = block_tokens(architecture, settings)
    specs: dict[int, Spec] = {}
    for number, layer in enumerate(architecture.layers):
        mixer = layer.attention
        if isinstance(mixer, (Attention, LatentAttention)):
            if mixer.state_values:
                raise WorkshopError(
                    f"{architecture.name} runs a state space beside attention, which is not estimated for "
                    "vLLM; choose the engine transformers."
                )
            values = rank_cached_values(mixer, settings.tensor_parallel)
            page = tokens * values * settings.cache_value_bits // 8
            specs[number] = Spec(tokens, page, mixer.window)
        elif mixer.state_values:
            specs[number] = Spec(tokens, state_bytes(mixer.state_values, settings), state=True)
    if not any(spec.page_bytes and not spec.state for spec in specs.values()):
        raise WorkshopError(
            f"{architecture.name} caches nothing for a token, and vLLM's blocks are only estimated for "
            "models with attention; choose the engine transformers."
        )
    return specs


def state_bytes(values: int, settings: Settings) -> int:
    """Return a constant state's bytes on one rank; its heads are cut like those of attention."""
    return values * STATE_VALUE_BYTES // settings.tensor_parallel


def block_tokens(architecture: Architecture, settings: Settings) -> int:
    """Return the tokens of a block: 16, or as many as make a block of attention as large as a state."""
    mixers = [layer.attention for layer in architecture.layers]
    states = [state_bytes(mixer.state_values, settings) for mixer in mixers if mixer.state_values]
    caches = [
        rank_cached_values(mixer, settings.tensor_parallel) * settings.cache_value_bits // 8
        for mixer in mixers
        if isinstance(mixer, (Attention, LatentAttention))
    ]
    if not states or not caches:
        return BLOCK_TOKENS
    return padded(-(-max(states) // max(caches)), BLOCK_TOKENS)


@dataclass(frozen=True, slots=True)
class Pool:
    """The cache that vLLM makes: ``blocks`` on every rank, each of ``block_bytes[stage]`` there."""

    blocks: int
    block_bytes: tuple[int, ...]
    groups: tuple[Group, ...]
    settings: Settings

    def request_blocks(self, length: int) -> int:
        """Return the blocks that a request of ``length`` tokens reserves, over all groups."""
        return sum(group.spec.blocks(length, self.settings.tokens_in_flight) for group in self.groups)

    def concurrency(self, length: int) -> float:
        """Return how many requests of ``length`` tokens fit at a time; below 1 vLLM refuses to start."""
        return self.blocks / self.request_blocks(length)

    @property
    def tokens(self) -> int:
        """Tokens as the log states them ("GPU KV cache size")."""
        length = self.settings.length
        if self.settings.release.tokens_from_concurrency:
            return int(self.concurrency(length) * length)
        return self.blocks // len(self.groups) * min(group.spec.tokens for group in self.groups)

    def longest(self, most: int) -> int:
        """Return the longest request up to ``most`` tokens that fits alone, 0 where none does."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.request_blocks(middle) <= self.blocks else (low, middle - 1)
        return low


def make_pool(
    architecture: Architecture, stages: Sequence[Stage], available: Sequence[int], settings: Settings
) -> Pool:
    """Return the pool for the bytes that each stage has left; the stage with the fewest blocks decides."""
    found = groups(architecture, settings)
    block_bytes = tuple(
        found[0].spec.page_bytes * max(group.on(stage) for group in found) for stage in stages
    )
    blocks = min(max(0, left) // size for left, size in zip(available, block_bytes, strict=True) if size)
    return Pool(blocks, block_bytes, found, settings)
