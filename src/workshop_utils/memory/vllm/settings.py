"""One start of vLLM: what a reader chose, and the engine's defaults for the rest."""

from dataclasses import dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.process import cublas_bytes
from workshop_utils.memory.vllm.releases import Release, batch_defaults, constants
from workshop_utils.models.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Device:
    """What kernels and libraries take from the kind of GPU: bytes, and the number of multiprocessors."""

    l2_bytes: int
    cublas_bytes: int
    multiprocessors: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The engine's arguments. ``length`` is max_model_len; ``values_bytes`` is of one activation value.

    ``batched_tokens`` and ``sequences`` are max_num_batched_tokens and max_num_seqs. ``flashinfer``: the
    package, which vLLM's own requirements name, is there to add up over tensor ranks. ``expert_parallel``
    (enable_expert_parallel) spreads whole experts over the ranks of ``engines`` data parallel engines.
    """

    release: Release
    gpu: Gpu
    device: Device
    length: int
    tensor_parallel: int
    pipeline_parallel: int
    utilization: float
    batched_tokens: int
    sequences: int
    second_runner: bool
    cache_value_bits: int
    value_bytes: int = 2
    flashinfer: bool = True
    expert_parallel: bool = False
    engines: int = 1

    @property
    def alone(self) -> bool:
        """Whether a rank talks to no other one."""
        return self.tensor_parallel * self.pipeline_parallel * self.engines == 1

    @property
    def rows(self) -> int:
        """Sequences that the profiling run samples for: no more than it has tokens."""
        return min(self.sequences, self.batched_tokens)

    @property
    def graph_sizes(self) -> tuple[int, ...]:
        """Numbers of tokens with a CUDA graph of their own: ``_set_cudagraph_sizes``, vllm/config/vllm.py."""
        most = min(2 * self.sequences, 512, self.batched_tokens)
        sizes = {1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)}
        # The whole batch too, where it is no larger.
        return tuple(sorted(size for size in sizes | {self.batched_tokens} if size <= most))

    @property
    def tokens_in_flight(self) -> int:
        """Tokens that may be scheduled and not yet settled (``VllmConfig.max_in_flight_tokens``)."""
        if not self.release.reserves_batches_in_flight:
            return self.batched_tokens
        stages = self.pipeline_parallel
        # Asynchronous scheduling: the older runner does without it where there are stages.
        batches = stages + 1 if self.second_runner or stages == 1 else stages
        return batches * self.batched_tokens

    @property
    def counts_graphs(self) -> bool:
        """Whether the budget sets memory aside for CUDA graphs before it sizes the cache."""
        counted = self.release.counts_graphs
        return counted and (self.release.second_runner_counts_graphs or not self.second_runner)


def settle(  # noqa: PLR0913 - one keyword for each of the engine's arguments
    architecture: Architecture,
    release: Release,
    gpu: Gpu,
    *,
    length: int,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    utilization: float | None = None,
    batched_tokens: int | None = None,
    sequences: int | None = None,
    cache_value_bits: int = 16,
    value_bytes: int = 2,
    flashinfer: bool = True,
    expert_parallel: bool = False,
    data_parallel: int = 1,
) -> Settings:
    """Return the settings with vLLM's defaults for what is None; WorkshopError for what it refuses."""
    share = release.gpu_memory_utilization if utilization is None else utilization
    if not 0 < share <= 1:
        raise WorkshopError(f"gpu_memory_utilization {share} is no share; give one above 0 and up to 1.")
    tokens, count = batch_sizes(batch_defaults(release, gpu), length, batched_tokens, sequences)
    table = constants()["device"]
    sizes = table["0.0"] | table.get(gpu.compute_capability, {}) | table.get(gpu.name, {})
    device = Device(sizes["l2_mib"] << 20, cublas_bytes(gpu), sizes["multiprocessors"])
    return Settings(
        release=release,
        gpu=gpu,
        device=device,
        length=length,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        utilization=share,
        batched_tokens=tokens,
        sequences=count,
        second_runner=release.takes_second_runner(architecture),
        cache_value_bits=cache_value_bits,
        value_bytes=value_bytes,
        flashinfer=flashinfer,
        expert_parallel=expert_parallel,
        # Replicas that share no experts know nothing of one another.
        engines=data_parallel if expert_parallel else 1,
    )


def batch_sizes(
    defaults: tuple[int, int], length: int, batched_tokens: int | None, sequences: int | None
) -> tuple[int, int]:
    """Return (max_num_batched_tokens, max_num_seqs); a default of one keeps within the other.

    Source: ``_set_default_max_num_seqs_and_batched_tokens_args`` (vllm/engine/arg_utils.py) and
    ``SchedulerConfig`` (vllm/config/scheduler.py), which refuses more sequences than tokens.
    """
    tokens, count = defaults
    count = sequences or count
    tokens = batched_tokens or min(tokens, count * length)
    if sequences is None:
        count = min(count, tokens)
    if count > tokens:
        raise WorkshopError(
            f"max_num_seqs {count:,} are more than max_num_batched_tokens {tokens:,}, and vLLM gives each "
            f"sequence a token of every batch; give at most {tokens}, or more tokens."
        )
    return tokens, count
