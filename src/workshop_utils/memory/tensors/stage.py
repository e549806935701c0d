"""What the tensors of a pipeline stage depend on; stages that are alike in it are computed once."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from workshop_utils.memory.sharding import Shard
from workshop_utils.memory.tensors.style import Style, style_of
from workshop_utils.models.architecture import Attention, LatentAttention, Layer, Mixer

# Model types whose sliding layers have positions of their own.
OWN_TABLES = ("gemma3", "gemma4")


@dataclass(frozen=True, slots=True)
class LayerSet:
    """The distinct ``layers`` of a stage, and what stands before and behind them.

    ``windows`` are those of its layers, 0 for none; ``rotary`` the head width of each table of rotary
    positions. ``embeds`` and ``ends``: it has the embedding, the final norm and the head.
    """

    style: Style
    width: int
    vocabulary: int
    layers: tuple[Layer, ...]
    windows: tuple[int, ...]
    rotary: tuple[int, ...]
    embeds: bool
    ends: bool

    def __hash__(self) -> int:
        """Return a quick hash, as of many caches it is a key."""
        return hash((self.style, self.width, len(self.layers), self.embeds, self.ends))


class Stage(NamedTuple):
    """``order`` says of each layer of a stage which of the set it is."""

    layer_set: LayerSet
    order: tuple[int, ...]


@lru_cache(maxsize=8192)
def stage_of(shard: Shard) -> Stage:
    """Return the stage that a shard computes."""
    architecture = shard.architecture
    kinds = {layer: number for number, layer in enumerate(dict.fromkeys(shard.layers))}
    mixers = {layer.attention.kind: layer.attention for layer in kinds}
    rotary = tuple(width for mixer in mixers.values() if (width := rotary_width(mixer)))
    found = LayerSet(
        style=style_of(architecture.model_type),
        width=shard.hidden_size,
        vocabulary=architecture.vocabulary_size,
        layers=tuple(kinds),
        windows=tuple(sorted({layer.attention.window or 0 for layer in kinds})),
        rotary=rotary if architecture.model_type.startswith(OWN_TABLES) else rotary[:1],
        embeds=shard.stage == 0,
        ends=shard.final_norm,
    )
    return Stage(found, tuple(kinds[layer] for layer in shard.layers))


def rotary_width(mixer: Mixer) -> int:
    """Return the values of a row of cosines, 0 without rotary positions."""
    match mixer:
        case Attention():
            return mixer.head_dim
        case LatentAttention():
            return mixer.rotary_dim
        case _:
            return 0
