"""What the device-map explorer asks of the core, and what it gets: a map, its peaks, a token's time."""

from collections.abc import Mapping
from dataclasses import dataclass

from workshop_utils.memory.term import Kind
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import DeviceSet, Key, PlacementDevice
from workshop_utils.parallel.big_model.fitting import Fit, fitting_map
from workshop_utils.parallel.big_model.maps import MAP_KINDS, accelerate_map, default_limits
from workshop_utils.parallel.big_model.module_sizes import ModuleSizes, module_sizes
from workshop_utils.parallel.big_model.peaks import DevicePeak, device_peaks
from workshop_utils.parallel.big_model.speed import ExpectedTpot, expected_tpot
from workshop_utils.widgets.style import KINDS

FITTING = "fitting"
KINDS_OF_MAP = (*MAP_KINDS, FITTING)


@dataclass(frozen=True)
class Asked:
    """What the controls say; ``max_memory`` in bytes, None where nobody moved a limit."""

    model: str
    devices: DeviceSet
    tokens: int
    batch: int
    dtype: str
    kind: str
    max_memory: Mapping[Key, int] | None


@dataclass(frozen=True)
class Explored:
    """The map for what was asked; ``fit.devices`` may be fewer than ``asked.devices``."""

    asked: Asked
    architecture: Architecture
    fit: Fit
    tpot: ExpectedTpot

    @property
    def columns(self) -> tuple["Column", ...]:
        """Return every device that was asked for, those that the map leaves out too."""
        peaks = {peak.device.key: peak for peak in self.fit.peaks}
        return tuple(column_of(self, device, peaks.get(device.key)) for device in self.asked.devices.all)


@dataclass(frozen=True)
class Box:
    """A part of the model on a device: a layer, or what stands before or behind the layers."""

    name: str
    short: str
    bytes: int


@dataclass(frozen=True)
class Column:
    """One device. ``boxes`` are the map's, in a token's order; ``sizes`` are all bytes predicted, by kind.

    ``excess_bytes``: what the device lacks, 0 where the run ends well. ``parts``: the boxes in words.
    """

    device: PlacementDevice
    boxes: tuple[Box, ...]
    sizes: Mapping[Kind, int]
    excess_bytes: int
    parts: str

    @property
    def name(self) -> str:
        key = self.device.key
        return f"GPU {key}" if isinstance(key, int) else self.device.label

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())


def explore(asked: Asked) -> Explored:
    """Return the map with its figures; WorkshopError where there is none. The first takes seconds."""
    architecture = find_architecture(asked.model)
    load = {"tokens": asked.tokens, "batch": asked.batch}
    if asked.kind == FITTING:
        fit = fitting_map(asked.model, asked.devices, **load, dtype=asked.dtype)
    else:
        placement = accelerate_map(
            asked.model, asked.devices, kind=asked.kind, max_memory=asked.max_memory, dtype=asked.dtype
        )
        peaks = device_peaks(architecture, placement, asked.devices, **load, dtype=asked.dtype)
        limits = default_limits(asked.devices) if asked.max_memory is None else dict(asked.max_memory)
        fit = Fit(placement, limits, asked.devices, peaks)
    tpot = expected_tpot(asked.model, fit.placement, fit.devices, **load, dtype=asked.dtype)
    return Explored(asked, architecture, fit, tpot)


def column_of(explored: Explored, device: PlacementDevice, peak: DevicePeak | None) -> Column:
    """Return one device's share; nothing for one that the map leaves out."""
    if peak is None:
        return Column(device, (), {}, 0, "")
    if peak.estimate is None:
        sizes: dict[Kind, int] = {"weights": peak.peak_bytes} if peak.peak_bytes else {}
    else:
        sizes = {kind: peak.estimate.bytes_of(kind) for kind in KINDS if peak.estimate.bytes_of(kind)}
    boxes, parts = boxes_on(explored, device.key), parts_on(explored, device.key)
    return Column(device, boxes, sizes, excess(peak), parts)


def boxes_on(explored: Explored, key: Key) -> tuple[Box, ...]:
    """Return the layers on a device and what stands before and behind them; they sum to the map's bytes."""
    placement = explored.fit.placement
    sizes = module_sizes(explored.asked.model, explored.asked.dtype)
    here = [number for number, home in enumerate(placement.layers) if home == key]
    layers = [Box(f"layer {number}", str(number), sizes.layers[number]) for number in here]
    others = placement.bytes_by_device[key] - sum(box.bytes for box in layers)
    before = min(others, sizes.before) if placement.embedding == key else 0
    behind = others - before
    first = [Box("embedding", "embed", before)] if before else []
    last = [Box(*words_behind(sizes, behind), behind)] if behind else []
    return (*first, *layers, *last)


def words_behind(sizes: ModuleSizes, behind: int) -> tuple[str, str]:
    """Return what stands behind the layers: of an image tower that is split over devices, nobody knows."""
    if behind > sizes.after:
        return "other modules", "other"
    # Where the head is the embedding once more, only the norm comes after the layers.
    return ("norm", "norm") if sizes.after < sizes.head else ("norm and head", "head")


def parts_on(explored: Explored, key: Key) -> str:
    """Return what lies on a device: ``embedding, layers 0–18``."""
    placement = explored.fit.placement
    return parts_words(
        placement.embedding == key,
        [number for number, home in enumerate(placement.layers) if home == key],
        placement.head == key,
    )


def parts_words(embedding: bool, layers: list[int], head: bool) -> str:
    """Return parts of a model in words, runs of layers together."""
    runs: list[list[int]] = []
    for number in layers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [f"layer {first}" if first == last else f"layers {first}–{last}" for first, last in runs]
    return ", ".join([*(["embedding"] if embedding else []), *words, *(["head"] if head else [])])


def excess(peak: DevicePeak) -> int:
    """Return how many bytes a device lacks, 0 where it holds; the reserve counts where that decides."""
    if peak.fits:
        return 0
    needed = peak.estimate.needed_bytes if peak.estimate else peak.peak_bytes
    over = needed if needed > peak.device.free_bytes else peak.process_bytes
    return over - peak.device.free_bytes
