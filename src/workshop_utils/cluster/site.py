"""A computing centre as data: what ``site.toml`` says of its GPUs, partitions, limits and forms.

The files that ship stand in ``sites/`` beside their schema; any other path works the same.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from workshop_utils.cluster.site_schema import FOLDER, check_schema
from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.units import GB

# Where the reader, or the centre for all of its readers, says which site this is.
VARIABLE = "WORKSHOP_SITE"
# No site file is nearly this long.
MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Partition:
    """A partition and its limits for one job; None where it has none of its own."""

    name: str
    most_hours: float
    most_nodes: int | None = None
    most_gpus: int | None = None
    open_ondemand: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class GpuNodes:
    """The nodes that have one type of GPU. ``cores`` and ``memory_bytes`` are a node's, None where unknown.

    ``type`` and ``constraint`` are how Slurm tells them from others; ``fast_constraint`` replaces the latter
    where several GPUs talk. ``network_gb_per_s`` is between nodes, for each GPU and direction. ``slice_of``:
    the catalogue's type that a MIG instance is a part of, None for a whole GPU.
    """

    name: str
    gpu: Gpu
    type: str
    partition: Partition
    nodes: int
    per_node: int
    constraint: str | None = None
    fast_constraint: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    link: str = "pcie"
    network_gb_per_s: float | None = None
    whole_nodes: bool = False
    open_ondemand: str | None = None
    scarce: bool = False
    slice_of: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Site:
    """One centre. ``form`` are the labels of its Open OnDemand form, empty where it has none."""

    name: str
    title: str
    path: Path
    partitions: tuple[Partition, ...]
    gpus: tuple[GpuNodes, ...]
    account_required: bool
    default_partition: bool
    most_gpus: int | None
    most_nodes: int | None
    cores_per_gpu: int
    environment: tuple[str, ...]
    torch_build: str | None
    form: Mapping[str, Any]
    scratch: str | None
    links: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    checked: str | None

    def partition(self, name: str) -> Partition | None:
        return next((each for each in self.partitions if each.name == name), None)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Slurm's names of the GPUs."""
        return tuple(dict.fromkeys(each.type for each in self.gpus))

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Every constraint that the file knows."""
        named = [name for each in self.gpus for name in (each.constraint, each.fast_constraint) if name]
        return tuple(dict.fromkeys(named))

    def nodes_of(self, name: str) -> GpuNodes:
        """Return the nodes with a type of GPU, by the plan's name of it; WorkshopError with the choices."""
        for each in self.gpus:
            if each.name.casefold() == name.casefold():
                return each
        choices = ", ".join(each.name for each in self.gpus)
        raise WorkshopError(f"site {self.name} has no GPU {name!r}; choose one of {choices}.")


def site_names() -> tuple[str, ...]:
    """Return the sites that ship."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def find_site(name: str | None = None) -> Site:
    """Return a site by its name or its file's path; without one, what the variable WORKSHOP_SITE says.

    Raises WorkshopError with the choices, or with what is wrong in the file.
    """
    wanted = name or os.environ.get(VARIABLE)
    choices = ", ".join(site_names())
    if not wanted:
        raise WorkshopError(
            f"no site is named; give --site, or set {VARIABLE}, to one of {choices} or to a site.toml "
            "(`workshop site new` writes a draft)."
        )
    if wanted in site_names():
        return read_site(FOLDER / f"{wanted}.toml")
    path = Path(wanted)
    if not path.is_file():
        raise WorkshopError(
            f"site {wanted!r} is neither one that ships ({choices}) nor a file; `workshop site new` writes "
            "the draft of a file."
        )
    return read_site(path)


def read_site(path: Path) -> Site:
    """Return the site that a file describes. Raises WorkshopError, naming the place, where it is wrong."""
    if path.stat().st_size > MOST_BYTES:
        raise WorkshopError(f"{path.name} has {path.stat().st_size:,} bytes: no site file is that long.")
    try:
        # Windows' editors put a mark of the encoding first, which is no TOML.
        fields = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WorkshopError(f"{path.name} is no TOML: {error}.") from None
    except RecursionError:
        raise WorkshopError(f"{path.name} is nested far deeper than any site file.") from None
    check_schema(fields, path.name)
    return build_site(fields, path)


def build_site(fields: Mapping[str, Any], path: Path) -> Site:
    """Return the site of fields that keep to the schema. Raises WorkshopError where they contradict."""
    slurm = fields["slurm"]
    partitions = tuple(Partition(**each) for each in fields["partitions"])
    by_name = {each.name: each for each in partitions}
    gpus = tuple(read_nodes(each, by_name, path.name) for each in fields["gpus"])
    return Site(
        name=fields["name"],
        title=fields["title"],
        path=path,
        partitions=partitions,
        gpus=gpus,
        account_required=slurm.get("account_required", False),
        default_partition=slurm.get("default_partition", True),
        most_gpus=slurm.get("most_gpus"),
        most_nodes=slurm.get("most_nodes"),
        cores_per_gpu=slurm.get("cores_per_gpu", 4),
        environment=tuple(slurm.get("environment", ())),
        torch_build=fields.get("torch_build"),
        form=fields.get("open_ondemand", {}),
        scratch=fields.get("caches", {}).get("scratch"),
        links=tuple((each["title"], each["url"]) for each in fields.get("links", ())),
        notes=tuple(fields.get("notes", ())),
        sources=tuple(fields.get("sources", ())),
        checked=fields.get("checked"),
    )


def read_nodes(entry: Mapping[str, Any], partitions: Mapping[str, Partition], where: str) -> GpuNodes:
    """Return one entry of ``gpus``, its catalogue type and partition looked up."""
    fields = dict(entry)
    name = fields["partition"]
    if name not in partitions:
        choices = ", ".join(partitions)
        raise WorkshopError(
            f"{where}: GPU {fields['name']} is in partition {name!r}, which the file does not describe; it "
            f"has {choices}."
        )
    try:
        gpu = whole = find_gpu(fields["gpu"])
    except WorkshopError as error:
        raise WorkshopError(f"{where}: GPU {fields['name']}: {error}") from None
    usable = fields.pop("usable_gib", None)
    part = fields.pop("slice", None)
    if part:
        gpu = sliced(gpu, fields["name"], part["usable_gib"], part["share"])
    elif usable is not None:
        source = f"the site file {where}"
        gpu = replace(gpu, usable_gib=usable, usable_source=source, usable_certainty="assumed")
    memory = fields.pop("memory_gb", None)
    return GpuNodes(
        **{**fields, "gpu": gpu, "partition": partitions[name], "slice_of": whole.name if part else None},
        memory_bytes=None if memory is None else round(memory * GB),
    )


def sliced(gpu: Gpu, name: str, usable_gib: float, share: float) -> Gpu:
    """Return a MIG instance of a GPU: its own memory, a share of the speed, no links."""
    return replace(
        gpu, name=name, full_name=f"{gpu.full_name} {name}", usable_gib=usable_gib,
        usable_source="the site file", usable_certainty="assumed", nvlink_gb_per_s=None,
        bandwidth_gb_per_s=gpu.bandwidth_gb_per_s * share, half_tflops=gpu.half_tflops * share,
    )  # fmt: skip
