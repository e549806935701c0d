"""What makes decoding on a GPU fast, one by one, so that a benchmark can leave one out."""

from dataclasses import dataclass, fields, replace

from workshop_utils.errors import WorkshopError


@dataclass(frozen=True, slots=True)
class Tricks:
    """All are on unless somebody asks.

    ``graph``: a step is a CUDA graph, one launch. ``static_cache``: the KV cache has all its room from the
    start, else all of it is copied into a larger one for each token, which no graph can hold. ``kernels``:
    our products, rotation and attention for one token, else torch's. ``fused``: Q, K and V are one product,
    gate and up another. ``one_shot``: ranks write their parts of a sum into one another's memory over NVLink,
    instead of NCCL's ring. ``device_sampling``: the next token is chosen on the GPU, else logits go to the
    host.
    """

    graph: bool = True
    static_cache: bool = True
    kernels: bool = True
    fused: bool = True
    one_shot: bool = True
    device_sampling: bool = True

    def without(self, names: tuple[str, ...]) -> "Tricks":
        """Return the same with some left out; WorkshopError for an unknown name."""
        known = [field.name for field in fields(self)]
        for name in names:
            if name not in known:
                raise WorkshopError(f"there is no trick {name!r} to leave out; choices: {', '.join(known)}.")
        return replace(self, **dict.fromkeys(names, False))


ALL_TRICKS = Tricks()
