"""A model without storage, and the bytes of its parts in the order in which Accelerate lays them out."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from workshop_utils.measure.shape_twin import build_skeleton
from workshop_utils.measure.stages import decoder_layers


@lru_cache(maxsize=8)
def tied_skeleton(model: str, dtype: str) -> Any:
    """Return the model on the meta device, tied tensors being one; any attention will do, none runs."""
    skeleton = build_skeleton(model, dtype=dtype, attention="eager")
    skeleton.tie_weights()
    return skeleton


@dataclass(frozen=True)
class ModuleSizes:
    """Bytes of the weights in the order in which Accelerate lays them out.

    ``before`` the layers (embedding, image tower), each layer, ``after`` them (norm, an untied head).
    ``head``: the output head, tied or not. ``largest_behind``: the largest module that may follow a layer.
    """

    before: int
    layers: tuple[int, ...]
    after: int
    head: int
    largest_behind: int


@lru_cache(maxsize=64)
def module_sizes(model: str, dtype: str) -> ModuleSizes:
    """Return the sizes of a model's parts."""
    skeleton = tied_skeleton(model, dtype)
    path, layers = decoder_layers(skeleton)
    sizes = [0] * len(layers)
    before = after = last = 0
    for name, parameter in skeleton.named_parameters():
        if name.startswith(f"{path}."):
            sizes[int(name.removeprefix(f"{path}.").partition(".")[0])] += parameter.nbytes
            last = 0
        elif sizes[0]:
            after, last = after + parameter.nbytes, max(last, parameter.nbytes)
        else:
            before += parameter.nbytes
    output = skeleton.get_output_embeddings()
    head = sum(parameter.nbytes for parameter in output.parameters()) if output is not None else 0
    return ModuleSizes(before, tuple(sizes), after, head, max(last, *sizes))
