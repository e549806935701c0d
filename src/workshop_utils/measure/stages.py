"""Which module of a transformers model stands on which device, when its layers are split into stages."""

from collections.abc import Mapping, Sequence
from typing import Any

from workshop_utils.errors import WorkshopError


def stage_map(model: Any, devices: Sequence[str]) -> dict[str, str]:
    """Return a ``device_map``: module name to device, every module covered once.

    Layers stand in equal parts in order, what is left over on the stages before the last. What comes before
    them (embedding, image tower, rotary tables) is on the first device; the final norm and the head on the
    last one. A tied head stands with its embedding, because one storage cannot be on two devices.
    """
    if len(devices) == 1:
        return {"": devices[0]}
    path, layers = decoder_layers(model)
    if len(layers) < len(devices):
        raise WorkshopError(
            f"{len(layers)} layers cannot be split over {len(devices)} devices; give at most {len(layers)}."
        )
    parts = split_evenly(len(layers), len(devices))
    placed = {
        f"{path}.{index}": device
        for index, device in enumerate(
            device for device, count in zip(devices, parts, strict=True) for _ in range(count)
        )
    }
    tied = bool(model.config.get_text_config().tie_word_embeddings)
    for name in beside(model, path):
        after = name.endswith(".norm") or (name.endswith("lm_head") and not tied)
        placed[name] = devices[-1] if after else devices[0]
    return placed


def split_evenly(count: int, parts: int) -> list[int]:
    """Return ``parts`` numbers that sum to ``count``; the remainder goes to the stages before the last.

    vLLM splits so (``vllm/distributed/utils.py``, ``get_pp_indices``), because the last stage has the head.
    """
    sizes = [count // parts] * parts
    for index in range(count % parts):
        sizes[-(index + 2)] += 1
    return sizes


def decoder_layers(model: Any) -> tuple[str, Any]:
    """Return the name of the text decoder's list of layers, and the list."""
    depth = model.config.get_text_config().num_hidden_layers
    decoder = model.get_decoder()
    for name, module in model.named_modules():
        inside = any(module is child for child in decoder.modules())
        if inside and type(module).__name__ == "ModuleList" and len(module) == depth:
            return name, module
    raise WorkshopError(
        f"{type(model).__name__} has no list of {depth} decoder layers; run it on one device."
    )


def beside(model: Any, path: str) -> list[str]:
    """Return the names of all modules that stand beside ``path`` or beside one of its ancestors."""
    names, parts = [], path.split(".")
    for depth, part in enumerate(parts):
        ancestor = ".".join(parts[:depth])
        prefix = f"{ancestor}." if ancestor else ""
        children = model.get_submodule(ancestor).named_children()
        names += [prefix + name for name, _ in children if name != part]
    return names


def place_on(model: Any, stages: Mapping[str, str]) -> Any:
    """Let Accelerate move the hidden states between the devices of ``stages``; one device needs nothing."""
    if len(set(stages.values())) == 1:
        return model
    from accelerate import dispatch_model

    # As from_pretrained does: the cache of a layer stays on the layer's device.
    keep = list(model._skip_keys_device_placement or ())
    # Accelerate would take any of the devices for what stands in no stage.
    first = next(iter(stages.values()))
    return dispatch_model(model, device_map=dict(stages), main_device=first, skip_keys=keep)
