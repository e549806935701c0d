"""How many operations transformers starts for one new token, counted on the meta device."""

from collections import Counter
from typing import Any

from workshop_utils.measure.shape_twin import build_skeleton

PROMPT_TOKENS = 8


def operations_of_a_step(model: str, dtype: str = "bfloat16") -> Counter[str]:
    """Return how often each operation runs in one decode step of plain transformers, the commonest first.

    ``model`` is a catalogue name or config. Views, which only look at a tensor in another way, do not count.
    On a GPU each of these is a kernel or more that Python launches.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    counts: Counter[str] = Counter()

    def storages(values: Any) -> set[int]:
        tensors = (value for value in tree_leaves(values) if isinstance(value, torch.Tensor))
        return {tensor.untyped_storage()._cdata for tensor in tensors}

    class Count(TorchDispatchMode):  # type: ignore[misc]  # torch gives no type for it
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if func._schema.is_mutable or not storages(result) & storages((args, kwargs)):
                counts[func._schema.name.removeprefix("aten::")] += 1
            return result

    skeleton = build_skeleton(model, dtype=dtype).eval()
    # In inference mode a compound operation (a linear layer, attention) is one, as its kernel is.
    with torch.inference_mode():
        prompt = torch.ones((1, PROMPT_TOKENS), dtype=torch.long, device="meta")
        cache = skeleton(input_ids=prompt, use_cache=True).past_key_values
        with Count():
            skeleton(input_ids=prompt[:, :1], past_key_values=cache, use_cache=True)
    return Counter(dict(counts.most_common()))
