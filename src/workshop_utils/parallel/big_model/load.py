"""Load a checkpoint where a device map says, as Accelerate does, and let a dispatched model go again."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.parallel.big_model.checkpoint import Checkpoint, read_checkpoint
from workshop_utils.parallel.big_model.devices import DISK, HOST, Key
from workshop_utils.parallel.big_model.offload_folder import (
    clear_offload_folder,
    save_index,
    take_offload_folder,
)
from workshop_utils.parallel.big_model.placement import home_of


def load_checkpoint(
    folder: Path, modules: Mapping[str, Key], *, dtype: str, offload_folder: Path | None = None
) -> Any:
    """Return the model in ``folder`` with each module where the device map ``modules`` has it.

    ``init_empty_weights`` and ``load_checkpoint_and_dispatch``; modules on ``disk`` are copied to
    ``offload_folder``. All files are checked before the first is loaded. Raises WorkshopError for a
    checkpoint that is not complete or has other names than the model, a map with names or devices that are
    not here, and an offload folder that cannot be used; nothing is left then.
    """
    from accelerate import load_checkpoint_and_dispatch

    main_device(modules, offload_folder)
    checkpoint = read_checkpoint(folder)
    model = empty_model(folder, dtype)
    check_names(model, checkpoint)
    with offloading(model, modules, offload_folder):
        if offload_folder is not None:
            save_index(offload_folder, tied_on_disk(model, modules, checkpoint, dtype))
        return load_checkpoint_and_dispatch(
            model, str(folder), device_map=dict(modules), offload_folder=offload_folder, dtype=dtype,
            # Else what stays in host memory is first written to a temporary folder and read back.
            offload_state_dict=False,
            skip_keys=model._skip_keys_device_placement,
        ).eval()  # fmt: skip


def empty_model(folder: Path, dtype: str) -> Any:
    """Return the model of a folder's config without weights, tied tensors being one."""
    quiet_torchao()
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.tie_weights()
    return model


def main_device(modules: Mapping[str, Key], offload_folder: Path | None) -> Key:
    """Return the device that runs what is offloaded: the first GPU of the map, or the host without one.

    Raises WorkshopError for a device that this process does not have, and for a disk without a folder.
    """
    import torch

    gpus = torch.cuda.device_count()
    for name, device in modules.items():
        if device not in {HOST, DISK} and not (isinstance(device, int) and 0 <= device < gpus):
            choices = ", ".join(map(repr, [*range(gpus), HOST, DISK]))
            raise WorkshopError(f"the device map puts {name!r} on {device!r}; the devices are {choices}.")
        if device == DISK and offload_folder is None:
            raise WorkshopError(f"the device map puts {name!r} on the disk; name an offload folder.")
    return min((device for device in modules.values() if isinstance(device, int)), default=HOST)


def check_names(model: Any, checkpoint: Checkpoint) -> None:
    """Raise WorkshopError unless each parameter has a tensor of its name, or of that of a tied one.

    Accelerate loads by name and only warns of what it did not use; the rest would stay empty.
    """
    lacking = [names[0] for names in tied_names(model) if not any(name in checkpoint.homes for name in names)]
    if lacking:
        raise WorkshopError(
            f"{len(lacking)} parameters of {type(model).__name__}, first of all {lacking[0]}, are not in the "
            f"checkpoint {checkpoint.folder}: it is of another model, or transformers renames its tensors "
            "while loading; use from_pretrained(device_map=…) there."
        )


def check_map(model: Any, modules: Mapping[str, Key]) -> None:
    """Raise WorkshopError for a name in the device map that the model does not have.

    Accelerate passes over such an entry, and the part that was meant goes where ``''`` sends it.
    """
    import difflib  # only a name that is wrong needs it

    known = {name for name, _ in model.named_modules(remove_duplicate=False)}
    # Of a module that it takes apart, Accelerate's own map names parameters and buffers too.
    known |= {name for name, _ in model.named_parameters(remove_duplicate=False)}
    known |= {name for name, _ in model.named_buffers(remove_duplicate=False)}
    for name in modules:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=3) or [
                child for child, _ in model.named_children()
            ]
            raise WorkshopError(
                f"the device map names {name!r}, which {type(model).__name__} does not have; the closest "
                f"names are {', '.join(map(repr, close))}."
            )


def tied_names(model: Any) -> list[list[str]]:
    """Return the names of each parameter, several for tied ones."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return list(names.values())


def tied_on_disk(
    model: Any, modules: Mapping[str, Key], checkpoint: Checkpoint, dtype: str
) -> dict[str, dict[str, str]]:
    """Return index entries for the tied names on the disk that the checkpoint keeps under another name.

    Accelerate 1.15 writes the tensors of a checkpoint under its names alone and asks for a tied head by the
    head's: the first forward pass would end in a KeyError.
    """
    entries = {}
    for names in tied_names(model):
        stored = next(name for name in names if name in checkpoint.homes)
        for name in names:
            if name not in checkpoint.homes and home_of(name, modules) == DISK:
                file = str((checkpoint.folder / checkpoint.homes[stored]).absolute())
                entries[name] = {"safetensors_file": file, "weight_name": stored, "dtype": dtype}
    return entries


@contextmanager
def offloading(model: Any, modules: Mapping[str, Key], folder: Path | None) -> Iterator[None]:
    """Hold the offload folder for what a map puts on the disk; if loading fails, nothing stays there.

    Raises WorkshopError before for a map with names that the model does not have.
    """
    check_map(model, modules)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    away = [name for name in parameters if home_of(name, modules) == DISK]
    if not away or folder is None:
        yield
        return
    take_offload_folder(folder, away, sum(parameters[name].nbytes for name in away))
    try:
        yield
    except BaseException as error:
        clear_offload_folder(folder)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise WorkshopError(
                f"the offloaded layers could not be written to {folder} ({reason}); name another "
                "--offload-folder."
            ) from error
        raise


def offloaded_modules(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each module whose weights are copied for its turn, with the hook that does so."""
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for one in getattr(hook, "hooks", (hook,)):
            if getattr(one, "offload", False):
                yield module, one


def moved_bytes(model: Any) -> int:
    """Return the bytes of weights that one forward pass copies to the main device.

    A tied tensor counts for each module that asks for it: embedding and head have their turns apart.
    """
    return sum(
        parameter.nbytes
        for module, _ in offloaded_modules(model)
        for parameter in module.parameters(recurse=False)
    )


def release(model: Any) -> None:
    """Take the hooks off, give the memory of all devices back, and empty the offload folder.

    The model has no weights afterwards, even where somebody still holds it.
    """
    import torch
    from accelerate.hooks import remove_hook_from_submodules

    loaders = [getattr(hook.weights_map, "dataset", None) for _, hook in offloaded_modules(model)]
    folders = {folder for loader in loaders if (folder := getattr(loader, "save_folder", None))}
    remove_hook_from_submodules(model)
    model.to("meta")
    del loaders
    for folder in folders:
        clear_offload_folder(Path(folder))
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
