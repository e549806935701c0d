"""What a worker takes beside torch's allocator, before and after the snapshot that its budget starts from.

Every version since 0.19 starts NCCL first and takes the snapshot then (``init_device``,
vllm/v1/worker/gpu_worker.py): what CUDA and NCCL hold by then lies outside the share, what follows inside.
"""

from workshop_utils.memory.vllm.piece import Piece
from workshop_utils.memory.vllm.releases import constants
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage, padded
from workshop_utils.units import MIB

# Numbers of one rank's barrier and the bytes that follow a buffer: BarrierFlagCount in FlashInfer's
# flashinfer/comm/trtllm_ar.py; SIGNAL_PAD_SIZE in flashinfer/comm/mnnvl.py and the same in torch.
BARRIER_BYTES = 256 * 4
SIGNAL_PAD = 2048
ALL_REDUCE = "all-reduce over tensor ranks"


def charged_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return what comes after the snapshot and is taken off the share."""
    fitted = constants()["fitted"]
    if settings.alone:
        name = "non_torch_newer_mib" if settings.second_runner else "non_torch_mib"
        return (Piece("kernels and libraries", round(fitted[name] * MIB), "fitted, see vllm.toml"),)
    # NCCL has loaded most kernels by then.
    size = round(fitted["non_torch_after_nccl_mib"] * MIB)
    pieces = [Piece("kernels and libraries", size, "fitted, see vllm.toml")]
    buffers = all_reduce_bytes(stage, settings)
    if buffers:
        formula = "FlashInfer's buffers: ranks × tokens × hidden, and three times that"
        pieces.append(Piece(ALL_REDUCE, buffers, formula))
    if rest := settings.release.all_reduce_rest_mib * MIB if settings.tensor_parallel > 1 else 0:
        pieces.append(Piece("not explained", rest, "logged beside them, see vllm.toml"))
    return tuple(pieces)


def all_reduce_bytes(stage: Stage, settings: Settings) -> int:
    """Return FlashInfer's buffers for adding up over tensor ranks and norming in one kernel.

    Sources: ``AllReduceFusionPass`` in vllm/compilation/passes/fusion/allreduce_rms_fusion.py,
    ``trtllm_create_ipc_workspace_for_all_reduce_fusion`` in flashinfer/comm/trtllm_ar.py.
    """
    limits = constants()["all_reduce_mib"].get(settings.gpu.compute_capability, {})
    limit = limits.get(str(stage.ranks))
    alone = stage.stages == 1 or settings.release.all_reduce_with_stages
    if not (settings.flashinfer and limit and alone):
        return 0
    hidden = stage.architecture.hidden_size
    tokens = min(int(limit * MIB) // (hidden * settings.value_bytes), settings.batched_tokens)
    sent = stage.ranks * tokens * hidden * 2
    unit = settings.release.all_reduce_granularity_mib * MIB
    return sum(padded(size + SIGNAL_PAD, unit) for size in (sent, stage.ranks * BARRIER_BYTES, 3 * sent))


def uncharged_pieces(settings: Settings) -> tuple[Piece, ...]:
    """Return what stands on the GPU before the snapshot, beside the share."""
    fitted = constants()["fitted"]
    pieces = (Piece("CUDA context", fitted["context_bytes"], "a constant of the process"),)
    if settings.alone:
        return pieces
    # Engines that share experts gather and add up, as tensor ranks do.
    kind = "tensor" if settings.tensor_parallel * settings.engines > 1 else "stages"
    formula = "channels and buffers of its communicators, and kernels loaded for them, on two ranks"
    return (*pieces, Piece("NCCL", fitted[f"nccl_{kind}_bytes"], formula))
