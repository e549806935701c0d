"""One run of ``workshop bench accelerate``: a model on a device map, and how much text it continues."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.workload import NEW_TOKENS
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.big_model.devices import DISK, HOST, DeviceSet, Key, PlacementDevice
from workshop_utils.parallel.big_model.fitting import fitting_map, limits_for
from workshop_utils.parallel.big_model.maps import accelerate_map
from workshop_utils.parallel.big_model.module_sizes import module_sizes
from workshop_utils.parallel.big_model.peaks import DevicePeak
from workshop_utils.parallel.big_model.placement import Placement
from workshop_utils.units import GIB, format_gib

ONE, SPLIT, FIT = "one", "split", "fit"
OFFLOAD = re.compile(r"(cpu|disk)(\d{1,2})")
CHOICES = "one, split, fit, cpu25 (so many % of the layers in host memory), disk50 (on the disk)"
ON_GPUS, ON_CPU = (ONE, "cpu25", "cpu50", "cpu75", "disk50"), (ONE, "disk50")


@dataclass(frozen=True, slots=True)
class AccelerateCase:
    """``placement`` is its name, ``modules`` the device map; ``work`` the model, its precision and the text.

    ``limits_bytes``: pairs of a GPU and what torch may take of it. ``offload_folder``: for modules on the
    disk. ``cold_load``: load with the page cache emptied of the checkpoint. ``predicted_bytes``: the peak
    expected of the first GPU, named when a run is out of memory.
    """

    placement: str
    modules: Mapping[str, Key]
    work: BenchCase
    limits_bytes: tuple[tuple[int, int], ...] = ()
    offload_folder: str | None = None
    cold_load: bool = False
    predicted_bytes: int | None = None

    @property
    def label(self) -> str:
        """The run in a few words."""
        work = self.work
        return f"{work.model}, {self.placement}, batch {work.batch}, {work.tokens} + {work.new}"

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "modules": dict(self.modules)})


def case_from_json(text: str) -> AccelerateCase:
    """Return the case that ``as_json`` wrote."""
    row = json.loads(text)
    return AccelerateCase(**{**row, "work": BenchCase(**row["work"])})


def default_placements(gpus: int) -> tuple[str, ...]:
    """Return what is compared where nobody says: all ways that a machine with so many GPUs has."""
    if not gpus:
        return ON_CPU
    return (ONE, SPLIT, *ON_GPUS[1:]) if gpus > 1 else ON_GPUS


def place(name: str, devices: DeviceSet, work: BenchCase) -> tuple[DeviceSet, Placement]:
    """Return Accelerate's own map for a placement, and the devices that it was given.

    ``devices`` holds the GPUs that may be used. The maps of offloads come from ``max_memory`` that leaves
    room for the other layers only. Raises WorkshopError for an unknown name and for what is not here.
    """
    model, dtype = work.model, work.dtype
    if name == FIT:
        # The engine takes a prompt to be all but the last NEW_TOKENS: this one may be longer than that.
        tokens = work.tokens + max(work.new, NEW_TOKENS)
        fit = fitting_map(model, devices, tokens=tokens, batch=work.batch, dtype=dtype)
        return fit.devices, fit.placement
    if name == SPLIT:
        if len(devices.gpus) < 2:
            raise WorkshopError(
                f"placement split needs two GPUs and {len(devices.gpus)} may be used; choose one or "
                f"{'cpu50' if devices.gpus else 'disk50'}."
            )
        return devices, accelerate_map(model, devices, dtype=dtype)
    alone = devices.only(devices.gpus[:1])
    if name == ONE:
        layers = len(module_sizes(model, dtype).layers)
        return alone, mapped(alone, work, layers, DISK)
    found = OFFLOAD.fullmatch(name)
    if found is None or int(found[2]) < 1:
        raise WorkshopError(f"placement {name!r} is not one of {CHOICES}.")
    where, share = found[1], int(found[2])
    if where == HOST and not devices.gpus:
        raise WorkshopError(
            f"placement {name} keeps layers in host memory for a GPU, and there is none; the CPU itself can "
            f"offload to the disk: disk{share}."
        )
    layers = len(module_sizes(model, dtype).layers)
    away = min(layers - 1, max(1, round(layers * share / 100)))
    placement = mapped(alone, work, layers - away, where)
    if where == HOST and placement.bytes_by_device[DISK]:
        smaller = f"a smaller share, for example cpu{share // 2}, or the disk" if share > 1 else "the disk"
        raise WorkshopError(
            f"placement {name} needs more than the {format_gib(devices.host.free_bytes)} of host memory that "
            f"are free; choose {smaller}: disk{share}."
        )
    return alone, placement


def mapped(devices: DeviceSet, work: BenchCase, here: int, where: Key) -> Placement:
    """Return Accelerate's map with the first ``here`` layers on the main device and the others ``where``."""
    main = devices.main.key
    # The main device's limit does not depend on what kind it is, the formula is that of a first GPU.
    as_gpu = replace(devices, gpus=(replace(devices.main, key=0),))
    limit = limits_for(work.model, work.dtype, as_gpu, [here])[0]
    host = devices.host.model_bytes if where == HOST else 0
    limits: dict[Key, int] = {HOST: host, main: limit}
    return accelerate_map(work.model, devices, kind="sequential", max_memory=limits, dtype=work.dtype)


def capped(devices: DeviceSet, caps_gib: Sequence[float]) -> DeviceSet:
    """Return as many GPUs as there are caps, each with at most so many GiB, as if they were smaller ones."""
    if len(caps_gib) > len(devices.gpus):
        here = f"give at most {len(devices.gpus)}" if devices.gpus else "leave it out, there is none to use"
        raise WorkshopError(f"--cap-gib names {len(caps_gib)} GPUs and {len(devices.gpus)} are here; {here}.")
    pairs = zip(devices.gpus, caps_gib, strict=False)
    return replace(devices, gpus=tuple(cap(gpu, gib) for gpu, gib in pairs))


def cap(gpu: PlacementDevice, gib: float) -> PlacementDevice:
    """Return a GPU of which only so many GiB may be used."""
    if not 1 <= gib * GIB <= gpu.free_bytes:
        raise WorkshopError(
            f"{gib:g} GiB of {gpu.label} cannot be had, {format_gib(gpu.free_bytes)} are free; give a "
            "smaller --cap-gib."
        )
    size = int(gib * GIB)
    return replace(gpu, total_bytes=size, free_bytes=size)


def too_large(case: AccelerateCase, peak: DevicePeak) -> WorkshopError:
    """Return the error for a device that will not hold its part: a GPU, the disk, or a host that computes."""
    where = peak.device.label
    step = "choose fit, a larger offloaded share, a shorter text or a smaller batch"
    if peak.device.key == DISK:
        where = f"the disk of {case.offload_folder}"
        step = "name an --offload-folder on another disk"
        found = OFFLOAD.fullmatch(case.placement)
        half = int(found[2]) // 2 if found else 0
        step += f", or choose a smaller share, for example disk{half}" if half else ""
    return WorkshopError(
        f"placement {case.placement} is predicted to need {format_gib(peak.process_bytes)} of {where}, which "
        f"has {format_gib(peak.device.free_bytes)} free; {step}."
    )
