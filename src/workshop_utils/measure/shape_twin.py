"""Shape twins: a model's true architecture with random weights, made on the device, with nothing downloaded.

A twin takes the memory and the time of the model whose config it has; what it writes is noise. It is built on
torch's meta device, given storage where it will run, and filled by the initialiser of its own transformers
class, the one that ``from_pretrained`` calls for weights that a checkpoint lacks: so routers spread their
tokens over the experts, norms are neutral, and rotary tables are right.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.stages import place_on, stage_map
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.catalogue import load_catalogue
from workshop_utils.models.config import Config, read_json_object
from workshop_utils.models.find import config_file, find_architecture, unknown_model
from workshop_utils.models.parameters import count_parameters
from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.models.reading import read_architecture


def build_twin(
    model: str,
    *,
    devices: Sequence[str] = ("cpu",),
    dtype: str = "bfloat16",
    attention: str = "sdpa",
    layers: int | None = None,
) -> Any:
    """Return the transformers model of true shape with random weights on ``devices``, ready for ``generate``.

    ``model`` is a catalogue name or a path to a config.json. On several devices the decoder layers are split
    evenly in order, and Accelerate moves the hidden states, as ``from_pretrained(device_map=…)`` has it.
    ``layers`` keeps only the first ones. An image tower is there, as in ``from_pretrained``; it is not used.
    Raises WorkshopError for an unknown model, a depth or attention that it does not have, and where the bytes
    on the devices are not those that the architecture counts.
    """
    import torch

    skeleton = build_skeleton(model, dtype=dtype, attention=attention, layers=layers)
    twin = materialise(skeleton, devices)
    values = count_parameters(twin_architecture(model, layers)).total
    expected, held = values * getattr(torch, dtype).itemsize, sum(parameter_bytes(twin).values())
    if held != expected:
        raise WorkshopError(
            f"the twin of {model} holds {held:,} bytes of weights and its config counts {expected:,}; "
            "compare `workshop estimate` with the transformers release that is installed."
        )
    return twin


def build_skeleton(
    model: str, *, dtype: str = "bfloat16", attention: str = "sdpa", layers: int | None = None
) -> Any:
    """Return the model on the meta device: every module and shape, no storage."""
    quiet_torchao()
    import torch
    import transformers

    fields = dict(twin_config(model, layers).fields)
    # Published scales and blocks belong to published values: a twin is plain.
    fields.pop("quantization_config", None)
    names = fields.get("architectures")
    class_name = str(names[0]) if isinstance(names, list) and names else "none"
    model_class = getattr(transformers, class_name, None)
    if model_class is None:
        raise WorkshopError(
            f"the config of {model} names the class {class_name}, which transformers "
            f"{transformers.__version__} does not have; use a config with its `architectures`."
        )
    try:
        with torch.device("meta"):
            return model_class._from_config(
                model_class.config_class.from_dict(fields),
                dtype=getattr(torch, dtype),
                attn_implementation=attention,
            ).eval()
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise WorkshopError(f"{model} cannot be built with attention {attention}: {reason}") from error


def materialise(skeleton: Any, devices: Sequence[str]) -> Any:
    """Give a model of the meta device its storage, tie what is tied, and fill it in place."""
    import torch

    stages = stage_map(skeleton, devices)
    # Before: tying makes one parameter of two, which then gets one storage.
    skeleton.tie_weights()
    reserve_at_once(skeleton, stages)
    storage: dict[int, Any] = {}
    for name, device in stages.items():
        give_storage(skeleton.get_submodule(name) if name else skeleton, device, storage)
    floating = {name: buffer for name, buffer in skeleton.named_buffers() if buffer.is_floating_point()}
    for buffer in floating.values():
        buffer.fill_(float("nan"))
    with torch.no_grad():
        skeleton.initialize_weights()
    unset = [name for name, buffer in skeleton.named_buffers() if name in floating and buffer.isnan().any()]
    if unset:
        raise WorkshopError(
            f"transformers fills no values into {', '.join(unset[:3])} of {type(skeleton).__name__}; "
            "there is no twin of this family yet, choose another model."
        )
    return place_on(skeleton, stages)


def give_storage(module: Any, device: str, storage: dict[int, Any]) -> None:
    """Give every tensor of a module its place on the device, a tied one once.

    ``Module.to_empty`` makes a tied parameter twice, and the spare one leaves a hole that a model loaded by
    ``from_pretrained`` does not have.
    """
    import torch

    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is None or tensor.device.type != "meta":
                    continue
                if id(tensor) not in storage:
                    empty = torch.empty_like(tensor, device=device)
                    is_parameter = isinstance(tensor, torch.nn.Parameter)
                    new = torch.nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
                    # The old one is kept, so that its id stays its own.
                    storage[id(tensor)] = (tensor, new)
                held[name] = storage[id(tensor)][1]


def reserve_at_once(skeleton: Any, stages: Mapping[str, str]) -> None:
    """Have the allocator take the weights of each GPU in one piece, from which they are then cut.

    ``from_pretrained`` does so (``caching_allocator_warmup``): without it, every tensor has a segment of its
    own, and what a process holds is up to 3 % more.
    """
    import torch

    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    for name, device in stages.items():
        module = skeleton.get_submodule(name) if name else skeleton
        for parameter in module.parameters():
            if device.startswith("cuda") and id(parameter) not in seen:
                seen.add(id(parameter))
                sizes[device] += parameter.nbytes
    for device, size in sizes.items():
        torch.empty(size, dtype=torch.uint8, device=device)


def parameter_bytes(model: Any) -> dict[str, int]:
    """Return the bytes of the parameters on each device, tied ones once."""
    held: Counter[str] = Counter()
    for parameter in model.parameters():
        held[str(parameter.device)] += parameter.untyped_storage().nbytes()
    return dict(held)


def twin_architecture(model: str, layers: int | None = None) -> Architecture:
    """Return the architecture that a twin has: the model's, or the one of its first ``layers`` layers."""
    return find_architecture(model) if layers is None else read_architecture(twin_config(model, layers))


def twin_config(model: str, layers: int | None = None) -> Config:
    """Return the config of a catalogue name, Hugging Face id of the catalogue, folder or config.json."""
    for entry in load_catalogue():
        if model.casefold() in {entry.name.casefold(), entry.hf_id.casefold()}:
            config = entry.config()
            break
    else:
        file = config_file(model)
        if file is None:
            raise unknown_model(model)
        config = Config(read_json_object(file), model, str(file))
    if layers is None:
        return config
    return Config(first_layers(config.fields, layers, model), config.name, config.where)


def first_layers(fields: Mapping[str, object], layers: int, model: str) -> dict[str, object]:
    """Return the fields of a model cut to its first ``layers`` layers: the depth and every list of it."""
    text = fields.get("text_config")
    if isinstance(text, dict):
        return {**fields, "text_config": first_layers(text, layers, model)}
    depth = fields.get("num_hidden_layers")
    if not isinstance(depth, int) or not 1 <= layers <= depth:
        raise WorkshopError(f"{model} has {depth} layers, not {layers}; give a number from 1 to {depth}.")
    of_layers = {
        name: value[:layers]
        for name, value in fields.items()
        if isinstance(value, list) and len(value) == depth
    }
    return {**fields, **of_layers, "num_hidden_layers": layers}
