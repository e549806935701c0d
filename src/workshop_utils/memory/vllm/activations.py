"""The peak of the profiling run: which tensors stand in the allocator beside the weights.

The run passes max_num_batched_tokens through the model, then warms up the sampler for max_num_seqs sequences.
The larger of both is the peak. Sources: vLLM's ``profile_run``, ``_dummy_run``, ``_dummy_sampler_run``
(vllm/v1/worker/gpu_model_runner.py, vllm/v1/worker/gpu/model_runner.py), vllm/v1/sample/.
"""

from dataclasses import dataclass

from workshop_utils.memory.vllm.images import Images, profiled_images
from workshop_utils.memory.vllm.moe import workspace_bytes
from workshop_utils.memory.vllm.releases import constants
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage
from workshop_utils.models.architecture import LatentAttention, Layer

# Latent attention sizes a buffer for chunks of its context (mla_attention.py): at most this many tokens.
LATENT_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of the peak, and how they come about."""

    name: str
    bytes: int
    formula: str


def peak_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the pieces of the peak of one rank: of the moment that needs most, and what stays all along."""
    kept = kept_pieces(stage, settings)
    images = profiled_images(stage, settings)
    moments = [forward_pieces(stage, settings)]
    if stage.first:
        moments.append(embedding_pieces(stage, settings))
    if stage.last:
        moments.append(sampler_pieces(stage, settings))
    if images:
        kept = (*kept, Piece("images of the profiling run", images.kept_bytes, images.formula))
        moments.append((tower_piece(images),))
    return (*kept, *max(moments, key=total))


def total(pieces: tuple[Piece, ...]) -> int:
    """Return the sum in bytes."""
    return sum(piece.bytes for piece in pieces)


def kept_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return what the run makes once and keeps: workspaces, and the place for what another stage sends."""
    pieces = [Piece("cuBLAS workspace", settings.device.cublas_bytes, "torch's choice for this GPU")]
    hidden, tokens = stage.architecture.hidden_size, settings.batched_tokens
    experts = {layer.experts for layer in stage.layers if layer.experts}
    if experts:
        size = max(
            workspace_bytes(kind, hidden, tokens, stage.ranks, settings.value_bytes) for kind in experts
        )
        formula = f"{tokens:,} tokens × active experts × (max(width, hidden) + max(2 × width, hidden))"
        pieces.append(Piece("workspace of the experts", size, formula))
    # The newer runner makes this place before the peak is measured from.
    if not stage.first and not settings.second_runner:
        size = 2 * tokens * hidden * settings.value_bytes
        pieces.append(Piece("input of the stage", size, f"2 × {tokens:,} tokens × {hidden:,}"))
    return tuple(pieces)


def forward_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the forward pass at its widest layer."""
    tokens, hidden = settings.batched_tokens, stage.architecture.hidden_size
    width = max((layer_values(layer, stage, settings) for layer in set(stage.layers)), default=0)
    handed = 0 if stage.last else constants()["fitted"]["stage_tensors"]
    # Beside the widest buffers: attention's output, the residual before and after it.
    held = 3 + handed
    return (
        Piece(
            "hidden states",
            held * tokens * hidden * settings.value_bytes,
            f"{held} × {tokens:,} × {hidden:,}",
        ),
        Piece("widest layer", width * settings.value_bytes, f"{width:,} values of {tokens:,} tokens"),
        Piece("kernel timing", settings.device.l2_bytes, "a buffer of the L2 cache's size"),
    )


def embedding_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the moment at which the table of embeddings stands there twice, while its kernel is compiled.

    Seen in nine starts of vLLM 0.26: where this is more than any layer needs (Llama 3.1 8B, Gemma 2 9B), it
    is the peak of the stage that has the embedding, and of no other. No source states it.
    """
    hidden = stage.architecture.hidden_size
    table = stage.rows // stage.ranks * hidden * settings.value_bytes
    states = constants()["fitted"]["embedding_states" if stage.ranks == 1 else "embedding_states_cut"]
    size = int(states * settings.batched_tokens * hidden * settings.value_bytes)
    return (
        Piece("embedding, a second time", table, f"{stage.rows // stage.ranks:,} rows × {hidden:,}"),
        Piece("hidden states", size, f"{states:g} × {settings.batched_tokens:,} × {hidden:,}"),
    )


def layer_values(layer: Layer, stage: Stage, settings: Settings) -> int:
    """Return the values that stand beside the hidden states at a layer's widest moment."""
    tokens, hidden, ranks = settings.batched_tokens, stage.architecture.hidden_size, stage.ranks
    widest = 0
    if layer.mlp:
        # The fused gate and up projection, and their product.
        widest = tokens * (3 if layer.mlp.gated else 2) * layer.mlp.width // ranks
    if layer.experts:
        shared = layer.experts.shared * (layer.experts.shared_width or layer.experts.width)
        # The experts' input, their output, and the router's logits in float32.
        routed = tokens * (2 * hidden + 2 * layer.experts.routed)
        widest = max(widest, routed, tokens * (3 * shared // ranks + hidden))
    if isinstance(layer.attention, LatentAttention):
        mixer = layer.attention
        chunk = min(max(8 * settings.length, 4 * settings.sequences * 16), LATENT_CHUNK)
        chunk = max(chunk, settings.sequences * 16)
        widest = max(widest, chunk * mixer.heads // ranks * (mixer.plain_dim + mixer.value_dim))
    return widest


def sampler_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the warm-up of the sampler, for ``settings.rows`` sequences over the whole vocabulary.

    The older runner keeps the logits in the weights' precision (gathered, padded) and three arrays in
    float32: a copy, the probabilities, and the noise that they are divided by; and a buffer of one row for
    each multiprocessor, from its top-k kernel. The newer one works on the logits in place.
    """
    rows, vocabulary = settings.rows, stage.architecture.vocabulary_size
    hidden, tokens = stage.architecture.hidden_size, settings.batched_tokens
    states = (tokens + 2 * rows) * hidden * settings.value_bytes
    pieces = [Piece("hidden states", states, f"({tokens:,} + 2 × {rows:,}) × {hidden:,}")]
    if settings.second_runner:
        each = settings.release.second_runner_logit_bytes
        size = rows * (stage.rows * settings.value_bytes + vocabulary * (each - 2))
        formula = f"{rows:,} sequences × {vocabulary:,} × {each} bytes"
        return (*pieces, Piece("sampler", size, formula))
    size = rows * (stage.rows * settings.value_bytes + 3 * 4 * vocabulary)
    programs = min(settings.device.multiprocessors, 1 << (rows - 1).bit_length())
    formula = f"{rows:,} sequences × {vocabulary:,} × ({settings.value_bytes} + 3 × 4 bytes)"
    buffer = Piece("top-k buffer", programs * vocabulary * 4, f"{programs} × {vocabulary:,} × 4 bytes")
    return (*pieces, Piece("sampler", size, formula), buffer)


def tower_piece(images: Images) -> Piece:
    """Return the image tower's own peak."""
    return Piece("image tower", images.tower_bytes, images.tower_formula)


def runner_state_bytes(stage: Stage, settings: Settings) -> int:
    """Return what the newer runner keeps for penalties: counts and a bit for each sequence and entry.

    Source: ``PenaltiesState``, vllm/v1/worker/gpu/sample/penalties.py.
    """
    if not (settings.second_runner and stage.last):
        return 0
    vocabulary = stage.architecture.vocabulary_size
    return 4 * settings.sequences * (vocabulary + -(-vocabulary // 32))
