"""The warm-up of the sampler in the profiling run: logits of ``settings.rows`` sequences over the vocabulary.

Sources: vLLM's ``_dummy_sampler_run`` (vllm/v1/worker/gpu_model_runner.py and gpu/model_runner.py beside it),
``LogitsProcessor`` (vllm/model_executor/layers/logits_processor.py), vllm/v1/sample and
vllm/v1/worker/gpu/sample.
"""

from workshop_utils.memory.vllm.piece import Piece, total
from workshop_utils.memory.vllm.releases import constants
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage


def sampler_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the hidden states that sampling starts from, and the logits at their fullest moment."""
    hidden, tokens = stage.architecture.hidden_size, settings.batched_tokens
    # The rows to sample from are copied; the older runner copies them once more.
    rows = settings.rows * (1 if settings.second_runner else 2)
    states = Piece(
        "hidden states",
        (tokens + rows) * hidden * settings.value_bytes,
        f"({tokens:,} + {rows:,}) × {hidden:,}",
    )
    worked = newer_pieces(stage, settings) if settings.second_runner else older_pieces(stage, settings)
    return (states, *max((made_pieces(stage, settings), worked), key=total))


def made_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the logits while they are made: a rank's share beside the whole, or before and after a soft cap.

    Tensor ranks gather into one buffer and copy that in the order of the vocabulary (``all_gather`` in
    vllm/distributed/device_communicators/base_device_communicator.py), all beside the rank's own share.
    """
    whole = settings.rows * stage.rows * settings.value_bytes
    capped = stage.architecture.model_type in constants()["logits"]["soft_cap"]
    if stage.ranks > 1:
        formula = f"{settings.rows:,} sequences × {stage.rows:,} × (1 / {stage.ranks} + 2)"
        return (Piece("logits, gathered", whole // stage.ranks + 2 * whole, formula),)
    copies = 2 if capped else 1
    return (Piece("logits", copies * whole, f"{copies} × {settings.rows:,} sequences × {stage.rows:,}"),)


def newer_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return what the newer runner's sampler works on: at first the logits themselves, in place."""
    rows, vocabulary = settings.rows, stage.architecture.vocabulary_size
    each = settings.release.second_runner_logit_bytes
    size = rows * (stage.rows * settings.value_bytes + vocabulary * (each - 2))
    return (Piece("sampler", size, f"{rows:,} sequences × {vocabulary:,} × {each} bytes"),)


def older_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return what the older runner's sampler works on.

    The logits in the weights' precision (gathered, padded) and three arrays in float32: a copy, the
    probabilities, and the noise that they are divided by; and a buffer of one row for each multiprocessor,
    from its top-k kernel.
    """
    rows, vocabulary = settings.rows, stage.architecture.vocabulary_size
    size = rows * (stage.rows * settings.value_bytes + 3 * 4 * vocabulary)
    programs = min(settings.device.multiprocessors, 1 << (rows - 1).bit_length())
    formula = f"{rows:,} sequences × {vocabulary:,} × ({settings.value_bytes} + 3 × 4 bytes)"
    buffer = Piece("top-k buffer", programs * vocabulary * 4, f"{programs} × {vocabulary:,} × 4 bytes")
    return (Piece("sampler", size, formula), buffer)


def runner_state_bytes(stage: Stage, settings: Settings) -> int:
    """Return what the newer runner keeps for penalties: counts and a bit for each sequence and entry.

    Source: ``PenaltiesState``, vllm/v1/worker/gpu/sample/penalties.py.
    """
    if not (settings.second_runner and stage.last):
        return 0
    vocabulary = stage.architecture.vocabulary_size
    return 4 * settings.sequences * (vocabulary + -(-vocabulary // 32))
