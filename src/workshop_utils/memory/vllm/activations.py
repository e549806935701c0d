"""The peak of the profiling run: which tensors stand in the allocator beside the weights.

The run passes max_num_batched_tokens through the model, which compiles it on the way, and then warms up the
sampler for max_num_seqs sequences. The fullest moment is the peak. Sources: vLLM's ``profile_run`` and
``_dummy_run`` (vllm/v1/worker/gpu_model_runner.py, vllm/v1/worker/gpu/model_runner.py).
"""

from workshop_utils.memory.vllm.images import Images, profiled_images
from workshop_utils.memory.vllm.moe import workspace_bytes
from workshop_utils.memory.vllm.piece import Piece, total
from workshop_utils.memory.vllm.sampler import sampler_pieces
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage, attention_width
from workshop_utils.models.architecture import LatentAttention, Layer

# Latent attention sizes a buffer for chunks of its context (mla_attention.py): at most this many tokens.
LATENT_CHUNK = 64 * 1024


def peak_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the pieces of the peak of one rank: all that stand there at the moment that needs most."""
    kept = kept_pieces(stage, settings)
    images = profiled_images(stage, settings)
    moments = [(*kept, *forward_pieces(stage, settings))]
    if stage.first:
        # Compiled before any product of matrices, whose workspaces come later.
        moments.append(embedding_pieces(stage, settings))
    if stage.last:
        moments.append((*kept, *sampler_pieces(stage, settings)))
    if images:
        features = Piece("images of the profiling run", images.kept_bytes, images.formula)
        moments = [(features, *moment) for moment in (*moments, (*kept, tower_piece(images)))]
    return max(moments, key=total)


def kept_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return what the run makes once and keeps: workspaces, and the place for what another stage sends."""
    pieces = [Piece("cuBLAS workspace", settings.device.cublas_bytes, "torch's choice for this GPU")]
    hidden, tokens = stage.architecture.hidden_size, settings.batched_tokens
    experts = {layer.experts for layer in stage.layers if layer.experts}
    if experts:
        gathered, ranks = stage.engines * tokens, 1 if stage.spread else stage.ranks
        size = max(workspace_bytes(kind, hidden, gathered, ranks, settings.value_bytes) for kind in experts)
        of_all = f"{stage.engines} engines × " if stage.engines > 1 else ""
        formula = (
            f"{of_all}{tokens:,} tokens × active experts × (max(width, hidden) + max(2 × width, hidden))"
        )
        pieces.append(Piece("workspace of the experts", size, formula))
    # The newer runner makes this place before the peak is measured from.
    if not stage.first and not settings.second_runner:
        size = 2 * tokens * hidden * settings.value_bytes
        pieces.append(Piece("input of the stage", size, f"2 × {tokens:,} tokens × {hidden:,}"))
    return tuple(pieces)


def embedding_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the moment at which the kernel of the embedding is compiled, with a second table beside it.

    vLLM lets TorchInductor join small kernels and time them apart and together (vllm/config/compilation.py,
    ``benchmark_combo_kernel``). For that it makes every argument of a kernel anew (torch/_inductor,
    ``get_args`` of codegen/triton.py): the table, and what the kernel writes. On one rank that is the
    embedding and its norm; where ranks have to add up first, only the embedding.
    """
    hidden, rows = stage.architecture.hidden_size, stage.rows // stage.ranks
    written = 2 if stage.ranks == 1 else 1
    size = settings.batched_tokens * hidden * settings.value_bytes
    formula = f"{written} × {settings.batched_tokens:,} × {hidden:,}"
    return (
        Piece(
            "embedding, a second time", rows * hidden * settings.value_bytes, f"{rows:,} rows × {hidden:,}"
        ),
        Piece("hidden states", written * size, formula),
    )


def forward_pieces(stage: Stage, settings: Settings) -> tuple[Piece, ...]:
    """Return the forward pass at its widest layer."""
    tokens, hidden = settings.batched_tokens, stage.architecture.hidden_size
    width = max((layer_values(layer, stage, settings) for layer in set(stage.layers)), default=0)
    # Beside the widest buffers: the residual before and after attention, and attention's output.
    mixed = max((attention_width(layer, hidden, stage.ranks) for layer in set(stage.layers)), default=0)
    states = tokens * (2 * hidden + mixed) * settings.value_bytes
    return (
        Piece("hidden states", states, f"{tokens:,} × (2 × {hidden:,} + {mixed:,})"),
        Piece("widest layer", width * settings.value_bytes, f"{width:,} values of {tokens:,} tokens"),
        Piece("kernel timing", settings.device.l2_bytes, "a buffer of the L2 cache's size"),
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
        # The experts' input, their output, and the router's logits in float32; the input of all engines too.
        gathered = stage.engines * tokens * hidden if stage.engines > 1 else 0
        routed = tokens * (2 * hidden + 2 * layer.experts.routed) + gathered
        widest = max(widest, routed, tokens * (3 * shared // ranks + hidden))
    if isinstance(layer.attention, LatentAttention):
        mixer = layer.attention
        chunk = min(max(8 * settings.length, 4 * settings.sequences * 16), LATENT_CHUNK)
        chunk = max(chunk, settings.sequences * 16)
        widest = max(widest, chunk * mixer.heads // ranks * (mixer.plain_dim + mixer.value_dim))
    return widest


def tower_piece(images: Images) -> Piece:
    """Return the image tower's own peak."""
    return Piece("image tower", images.tower_bytes, images.tower_formula)
