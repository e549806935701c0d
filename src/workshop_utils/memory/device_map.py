"""Where ``device_map="auto"`` puts a model: GPUs in order, then the host's memory, then the disk.

Source: ``get_balanced_memory`` and ``infer_auto_device_map`` of accelerate 1.15 (utils/modeling.py) with the
limits of transformers 5.17 (integrations/accelerate.py): they count weights only, no cache, no activations.
"""

from dataclasses import dataclass, replace

from workshop_utils.memory.matrices import layer_matrices
from workshop_utils.memory.sharding import Shard, shards_of
from workshop_utils.memory.weights import weight_terms
from workshop_utils.models.architecture import Architecture, Layer

# One GPU keeps a tenth for everything else; so does the host.
KEPT_SHARE = 0.9
# What a GPU may have beyond an equal share: so many of the largest layer.
BUFFER_LAYERS = 1.25


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """Layers on each GPU, host and disk, in order; ``moved_bytes``: the largest offloaded module.

    The final norm and the head stand behind the last layer, on the same device.
    """

    gpu_layers: tuple[int, ...]
    cpu_layers: int
    disk_layers: int
    cpu_bytes: int
    disk_bytes: int
    moved_bytes: int

    @property
    def offloaded(self) -> int:
        return self.cpu_layers + self.disk_layers


def device_map(
    architecture: Architecture, dtype: str, gpus: int, gpu_bytes: int | None, cpu_bytes: int
) -> DeviceMap:
    """Return the map for ``gpus`` GPUs with ``gpu_bytes`` free each (None: as much as needed)."""
    layers, before, after = module_bytes(architecture, dtype)
    total, largest = before + sum(layers) + after, max(layers)
    free = total * 2 if gpu_bytes is None else gpu_bytes
    limits = [free * KEPT_SHARE] if gpus == 1 else [
        *[min(free, total // gpus + BUFFER_LAYERS * largest)] * (gpus - 1), free,
    ]  # fmt: skip
    # What would come from the host is laid on the first GPU for a moment; the host keeps as much for the
    # disk.
    turn = max(largest, after)
    limits[0] -= turn
    counts = [0] * gpus
    rooms = [*limits, cpu_bytes * KEPT_SHARE - turn]
    rooms[0] -= before
    device, homes = 0, []
    for number, size in enumerate(layers):
        needed = size + (after if number == len(layers) - 1 else 0)
        while device <= gpus and rooms[device] < needed:
            device += 1
        if device <= gpus:
            rooms[device] -= needed
        homes.append(device)
    for home in homes:
        if home < gpus:
            counts[home] += 1
    on_cpu = [size for size, home in zip(layers, homes, strict=True) if home == gpus]
    on_disk = [size for size, home in zip(layers, homes, strict=True) if home > gpus]
    return DeviceMap(
        gpu_layers=tuple(counts),
        cpu_layers=len(on_cpu),
        disk_layers=len(on_disk),
        cpu_bytes=sum(on_cpu) + (after if homes[-1] == gpus else 0),
        disk_bytes=sum(on_disk) + (after if homes[-1] > gpus else 0),
        moved_bytes=moved_bytes(architecture, layers, homes, gpus, after),
    )


def moved_bytes(
    architecture: Architecture, layers: list[int], homes: list[int], gpus: int, after: int
) -> int:
    """Return the bytes of the largest offloaded module: hooks copy one at a time, a layer's experts at once.

    Homes from ``gpus`` on are host and disk. Source: ``attach_align_device_hook`` of accelerate 1.15.
    """
    sizes = [
        int(size * module_share(layer, architecture.hidden_size))
        for layer, size, home in zip(architecture.layers, layers, homes, strict=True)
        if home >= gpus
    ]
    return max([*sizes, after if homes[-1] >= gpus else 0])


def module_share(layer: Layer, hidden: int) -> float:
    """Return the largest module's share of the values in a layer's matrices."""
    matrices = tuple(layer_matrices(layer, hidden))
    experts = sum(matrix.values for matrix in matrices if matrix.part == "experts")
    alone = (matrix.rows * matrix.columns for matrix in matrices if matrix.part != "experts")
    return max(experts, *alone, 0) / max(1, sum(matrix.values for matrix in matrices))


def module_bytes(architecture: Architecture, dtype: str) -> tuple[list[int], int, int]:
    """Return the bytes of each layer, of what stands before them, and of final norm and head."""
    count = len(architecture.layers)
    single = shards_of(architecture, 1, (1,) * count)
    sizes = [sum(term.bytes for term in weight_terms(layer_only(shard), dtype)) for shard in single]
    before = sum(term.bytes for term in weight_terms(single[0], dtype)) - sizes[0]
    whole = sum(term.bytes for term in weight_terms(shards_of(architecture, 1, (count,))[0], dtype))
    return sizes, before, max(0, whole - before - sum(sizes))


def layer_only(shard: Shard) -> Shard:
    """Return a shard with its layers alone."""
    return replace(
        shard, embedding_rows=0, head_rows=0, position_values=0, vision=None, final_norm=False, outside=(),
        encoder=(),
    )  # fmt: skip
