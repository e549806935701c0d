"""What the memory engine expects of a case, before it runs."""

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.phases import replica_estimates
from workshop_utils.memory.sharding import shards_of
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.pipeline import layers_of_stages
from workshop_utils.parallel.spec import read_spec

VALUE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def predicted_peaks(case: BenchCase) -> tuple[int, ...] | None:
    """Return the bytes of each rank of a replica at its peak, None where the engine has no such layout."""
    if case.dtype not in VALUE_BYTES or case.kv_heads is not None:
        return None
    architecture = find_architecture(case.model)
    try:
        found = estimate(
            architecture, tokens=case.tokens + case.new, new_tokens=case.new, batch=case.batch,
            dtype=case.dtype, cache="static", tensor_parallel=case.tensor, pipeline_parallel=case.pipeline,
        )  # fmt: skip
    except WorkshopError:
        return None
    ranks = found.per_gpu
    if case.pipeline > 1:
        # The engine splits layers evenly, as Accelerate does; here a stage makes up for the head.
        counts = tuple(len(layers) for layers in layers_of_stages(read_spec(case.model), case.pipeline))
        ranks = replica_estimates(shards_of(architecture, case.tensor, counts), found.workload, None)
    return tuple(rank.peak_bytes for rank in ranks)
