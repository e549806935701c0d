"""Put a model where a device map says, with Accelerate's hooks, and let it go again."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workshop_utils.measure.shape_twin import build_skeleton, give_storage
from workshop_utils.parallel.big_model.devices import DISK, Key
from workshop_utils.parallel.big_model.maps import home_of


def dispatch_twin(
    model: str, modules: Mapping[str, Key], *, dtype: str, offload_folder: Path | None = None
) -> Any:
    """Return a shape twin of ``model`` with each module where the device map ``modules`` has it.

    A parameter's values depend on its name and on the kind of the main device alone: every map gives the same
    model. They are made on the main device, a layer at a time, and brought to their home from there, so that
    neither the host nor a GPU holds more than its share and one layer. Raises WorkshopError for an unknown
    model, a device that is not here and an offload folder that cannot be used; nothing is left then.
    """
    import torch
    from accelerate.utils import offload_weight, save_offload_index

    main = checked_main(modules, offload_folder)
    skeleton = build_skeleton(model, dtype=dtype)
    skeleton.tie_weights()
    with offload_into(skeleton, modules, offload_folder):
        index: dict[str, Any] = {}
        storage: dict[int, Any] = {}
        for name, unit in units(skeleton):
            give_storage(unit, main, storage)
            torch.manual_seed(zlib.crc32(name.encode()))
            initialise(skeleton, unit)
        for owner, name, tensor in held_tensors(skeleton):
            home = home_of(name, modules)
            if home == DISK and owner.is_parameter(name):
                index = offload_weight(tensor, name, offload_folder, index)
        save_offload_index(index, offload_folder)
    return skeleton
