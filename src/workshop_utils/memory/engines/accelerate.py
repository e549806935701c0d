"""transformers with ``device_map="auto"``: layers on the GPUs that are given, then on host and disk.

An offloaded layer runs on the first GPU: its weights are copied there for a moment, its cache stays there.
"""

from dataclasses import replace

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.assessment import Assessment
from workshop_utils.memory.device_map import DeviceMap, device_map
from workshop_utils.memory.engines.transformers import not_counted
from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.phases import replica_estimates
from workshop_utils.memory.process import process_term
from workshop_utils.memory.sharding import shards_of, without_copied_head
from workshop_utils.memory.term import Term
from workshop_utils.memory.weights import weight_terms
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture
from workshop_utils.units import GIB, format_gb

ATTENTION = ("sdpa", "eager", "flash_attention_2")
CACHES = ("dynamic", "static")
OPTIONS = ("prefill_chunk", "padded", "cpu_memory_gib")
CPU_MEMORY_GIB = 64.0
BETWEEN_COPIES = "the allocator's reserve on the first GPU, where layers come and go"
SOURCE = "device_map of accelerate 1.15; AlignDevicesHook copies an offloaded module's weights for its turn"


def assess(architecture: Architecture, workload: Workload, gpu: Gpu | None) -> Assessment:
    """Return what every GPU needs, and what lies elsewhere."""
    if workload.tensor_parallel > 1 or workload.data_parallel > 1:
        raise WorkshopError(
            "engine accelerate splits by layers only: leave out --tp and --dp and give the GPUs with --pp, "
            "or choose engine transformers."
        )
    host = CPU_MEMORY_GIB if workload.cpu_memory_gib is None else workload.cpu_memory_gib
    if not host >= 0:
        raise WorkshopError(f"cpu_memory_gib {host} is no memory; give GiB of the host, for example 64.")
    free = gpu.usable_bytes - process_term(gpu).bytes if gpu else None
    found = device_map(architecture, workload.dtype, workload.pipeline_parallel, free, int(host * GIB))
    return Assessment(
        ranks=ranks(architecture, workload, gpu, found),
        not_counted=(*not_counted(architecture), *((BETWEEN_COPIES,) if found.offloaded else ())),
        notes=sentences(found),
        figures={
            "gpu_layers": list(found.gpu_layers),
            "cpu_layers": found.cpu_layers,
            "disk_layers": found.disk_layers,
            "cpu_bytes": found.cpu_bytes,
            "disk_bytes": found.disk_bytes,
        },
    )


def ranks(
    architecture: Architecture, workload: Workload, gpu: Gpu | None, found: DeviceMap
) -> tuple[GpuEstimate, ...]:
    """Return one estimate a GPU; the first one also runs what is offloaded."""
    used = [count for count in found.gpu_layers if count] or [0]
    running = (used[0] + found.offloaded, *used[1:])
    shards = [without_copied_head(shard) for shard in shards_of(architecture, 1, running)]
    estimates = list(replica_estimates(shards, workload, gpu))
    if found.offloaded:
        home = shards_of(architecture, 1, (used[0], found.offloaded))[0] if used[0] else None
        weights = weight_terms(home, workload.dtype) if home else ()
        moved = Term(
            "one offloaded module",
            "weights",
            found.moved_bytes,
            "its weights, while it is at work",
            SOURCE,
            "assumed",
        )
        others = tuple(term for term in estimates[0].needed if term.kind != "weights")
        shift = sum(term.bytes for term in (*weights, moved)) - estimates[0].bytes_of("weights")
        estimates[0] = replace(
            estimates[0],
            needed=(*weights, moved, *others),
            prefill_peak_bytes=(estimates[0].prefill_peak_bytes or 0) + shift,
            decode_peak_bytes=(estimates[0].decode_peak_bytes or 0) + shift,
            reserve=None,
        )
    return tuple(estimates)


def sentences(found: DeviceMap) -> tuple[str, ...]:
    """Return what a reader should know of the map."""
    said = []
    unused = sum(count == 0 for count in found.gpu_layers)
    if unused:
        said.append(f"{unused} of {len(found.gpu_layers)} GPUs get no layer.")
    for layers, size, where in (
        (found.cpu_layers, found.cpu_bytes, "in the host's memory"),
        (found.disk_layers, found.disk_bytes, "on the disk"),
    ):
        if layers:
            said.append(
                f"{layers} layers ({format_gb(size)}) stay {where} and are copied to the first GPU for every "
                "token, which is many times slower."
            )
    return tuple(said)
