"""A shape twin where a device map says: the same values for every map, and no device ever holds the whole."""

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.shape_twin import build_skeleton, reserve_at_once
from workshop_utils.measure.stages import beside, decoder_layers
from workshop_utils.parallel.big_model.devices import DISK, HOST, Key
from workshop_utils.parallel.big_model.load import main_device, offloading, tied_names
from workshop_utils.parallel.big_model.offload_folder import save_index, write_tensor
from workshop_utils.parallel.big_model.placement import home_of


def dispatch_twin(
    model: str, modules: Mapping[str, Key], *, dtype: str, offload_folder: Path | None = None
) -> Any:
    """Return a shape twin of ``model`` with each module where the device map ``modules`` has it.

    A parameter's values depend on its name and on the kind of the main device alone: every map gives the same
    model. They are made on the main device, a layer at a time, and go home from there, those of the disk to
    ``offload_folder``. Raises WorkshopError for an unknown model, a device that is not here, and an offload
    folder that cannot be used; nothing is left then.
    """
    from accelerate import dispatch_model

    main = main_device(modules, offload_folder)
    skeleton = build_skeleton(model, dtype=dtype)
    # Before: tying makes one parameter of two, which then gets one storage.
    skeleton.tie_weights()
    maker = _Maker(skeleton, modules, main, offload_folder)
    homes = {name: home_within(skeleton, name, modules) for name in units(skeleton)}
    with offloading(skeleton, modules, offload_folder):
        # First what lies elsewhere: while it is made, the main device has room.
        for here in (False, True):
            turn = {name: home for name, home in homes.items() if (home == main) is here}
            reserve(skeleton, turn)
            for name in turn:
                maker.make(name)
        maker.finish()
        return dispatch_model(
            skeleton, device_map=dict(modules), main_device=main, offload_dir=offload_folder,
            skip_keys=skeleton._skip_keys_device_placement,
        )  # fmt: skip


def units(skeleton: Any) -> list[str]:
    """Return the names of the modules that are made one at a time: each layer, and all that stands beside."""
    path, layers = decoder_layers(skeleton)
    return [*beside(skeleton, path), *(f"{path}.{number}" for number in range(len(layers)))]


def reserve(skeleton: Any, homes: Mapping[str, Key | None]) -> None:
    """Have the allocator of each GPU take what these units need in one piece, as ``from_pretrained`` does."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        reserve_at_once(
            skeleton, {name: torch_device(home) for name, home in homes.items() if isinstance(home, int)}
        )


def home_within(skeleton: Any, unit: str, modules: Mapping[str, Key]) -> Key | None:
    """Return the home of a unit's first parameter; None where it has none."""
    names = (name for name, _ in skeleton.get_submodule(unit).named_parameters())
    return next((home_of(f"{unit}.{name}", modules) for name in names), None)


class _Maker:
    """Gives a skeleton its values, unit by unit, and remembers which tied ones already have theirs."""

    def __init__(self, skeleton: Any, modules: Mapping[str, Key], main: Key, folder: Path | None) -> None:
        self._skeleton, self._modules, self._main, self._folder = skeleton, modules, main, folder
        self._aliases = {name: names for names in tied_names(skeleton) for name in names}
        # The parameter of the skeleton, kept so that its id stays its own, and what stands in its place.
        self._placed: dict[int, tuple[Any, Any]] = {}
        self._index: dict[str, Any] = {}

    def make(self, unit: str) -> None:
        """Make one unit on the main device and bring its tensors home."""
        import torch

        module = self._skeleton.get_submodule(unit)
        before = list(tensors_within(module, unit))
        for held, key, _, tensor in before:
            if id(tensor) in self._placed:
                held[key] = self._placed[id(tensor)][1]
            elif tensor.device.type == "meta":
                held[key] = empty_on(self._main, tensor)
        torch.manual_seed(zlib.crc32(unit.encode()))
        initialise(self._skeleton, unit)
        for held, key, name, tensor in before:
            if held[key].is_floating_point() and not isinstance(held[key], torch.nn.Parameter):
                check_filled(held[key], name, self._skeleton)
            if tensor.device.type == "meta" and id(tensor) not in self._placed:
                held[key] = self._home(held[key], name, tensor)
                self._placed[id(tensor)] = (tensor, held[key])

    def _home(self, made: Any, name: str, original: Any) -> Any:
        """Return a tensor in its home: that of the disk as it was, without values, once they are written."""
        import torch

        home = home_of(name, self._modules)
        if not isinstance(made, torch.nn.Parameter):
            # Accelerate leaves buffers where the module runs.
            return made.to(torch_device(self._main if home in {HOST, DISK} else home))
        if home == DISK and self._folder is not None:
            for alias in self._aliases[name]:
                self._index[alias] = write_tensor(self._folder, alias, made)
            original._is_hf_initialized = True
            return original
        there = torch.nn.Parameter(made.detach().to(torch_device(home)), made.requires_grad)
        # A tied one comes by again, and keeps its values.
        there._is_hf_initialized = True
        return there

    def finish(self) -> None:
        """Write the index of the disk; WorkshopError where a parameter stands in no unit."""
        if self._folder is not None:
            save_index(self._folder, self._index)
        for name, parameter in self._skeleton.named_parameters():
            if parameter.device.type == "meta" and home_of(name, self._modules) != DISK:
                raise no_twin(name, self._skeleton)


def tensors_within(module: Any, prefix: str) -> Iterator[tuple[dict[str, Any], str, str, Any]]:
    """Yield each parameter and buffer: the dictionary that holds it, its key, its whole name, the tensor."""
    for path, part in module.named_modules(prefix=prefix):
        for held in (part._parameters, part._buffers):
            for key, tensor in list(held.items()):
                if tensor is not None:
                    yield held, key, f"{path}.{key}", tensor


def empty_on(device: Key, tensor: Any) -> Any:
    """Return storage for a tensor of the meta device; a buffer is full of NaN until somebody fills it."""
    import torch

    empty = torch.empty_like(tensor, device=torch_device(device))
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(empty, tensor.requires_grad)
    return empty.fill_(float("nan")) if empty.is_floating_point() else empty


def initialise(skeleton: Any, unit: str) -> None:
    """Fill a unit by the initialiser of its own transformers class, children first, as transformers does."""
    import torch
    from transformers import PreTrainedModel
    from transformers.initialization import guard_torch_init_functions

    owner, parts = skeleton, unit.split(".")
    for depth in range(1, len(parts) + 1):
        above = skeleton.get_submodule(".".join(parts[:depth]))
        owner = above if isinstance(above, PreTrainedModel) else owner

    def fill(module: Any, model: Any) -> None:
        for child in module.children():
            fill(child, child if isinstance(child, PreTrainedModel) else model)
        model._init_weights(module)

    with torch.no_grad(), guard_torch_init_functions():
        fill(skeleton.get_submodule(unit), owner)


def check_filled(buffer: Any, name: str, skeleton: Any) -> None:
    """Raise WorkshopError for a buffer that no initialiser filled."""
    if buffer.isnan().any():
        raise no_twin(name, skeleton)


def no_twin(name: str, skeleton: Any) -> WorkshopError:
    return WorkshopError(
        f"transformers fills no values into {name} of {type(skeleton).__name__}; there is no twin of this "
        "family yet, choose another model."
    )


def torch_device(key: Key) -> str:
    """Return torch's name of a device map's key."""
    return f"cuda:{key}" if isinstance(key, int) else key
