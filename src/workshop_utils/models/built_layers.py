"""From a model on the meta device to an ``Architecture``: layers with their parameters and their caches."""

from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import (
    Architecture,
    Attention,
    ConstantState,
    DenseMlp,
    Experts,
    Layer,
    Mixer,
    VisionTower,
)
from workshop_utils.models.built_caches import mixer_of, observed_caches, stated_mixers
from workshop_utils.models.built_parts import Parts, Stack, pieces, sort_parameters
from workshop_utils.models.config import Config

ROUTED = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")
ACTIVE = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_k", "moe_top_k")


def read_built(model: Any, config: Config) -> Architecture:
    """Return the architecture of a built model; WorkshopError where it has no layers or no known cache."""
    settings, text = model.config, model.config.get_text_config(decoder=True)
    parts = sort_parameters(model)
    decoder = decoder_stack(parts, text, config)
    mixers, cross = read_mixers(model, text, decoder, config)
    encoder = tuple(stack for stack in parts.stacks.values() if stack is not decoder)
    for stack in encoder if not settings.is_encoder_decoder else ():
        for layer in stack.layers.values():  # a stack that generates nothing: a second tower, a predictor
            parts.outside["other", False] += sum(layer.values())
    embedding = model.get_input_embeddings()
    head = model.get_output_embeddings()
    return Architecture(
        name=config.name,
        model_type=settings.model_type,
        hidden_size=int(text.hidden_size),
        vocabulary_size=int(getattr(text, "vocab_size", None) or embedding.weight.shape[0]),
        layers=layers_of(decoder, mixers, cross, text),
        tied_embeddings=head is not None and head.weight is embedding.weight,
        max_positions=first_number(text, "max_position_embeddings") or None,
        dtype=config.dtype(),
        stored_as=config.stored_as(),
        vision=vision_tower(parts, settings),
        encoder=tuple(
            Layer(mixers[0], counted=pieces(counts))
            for stack in (encoder if settings.is_encoder_decoder else ())
            for counts in stack.layers.values()
        ),
        counted=pieces(parts.outside),
    )


def decoder_stack(parts: Parts, text: Any, config: Config) -> Stack:
    """Return the stack of layers that generate: the largest with as many layers as the text config states."""
    count = getattr(text, "num_hidden_layers", None)
    stacks = sorted(parts.stacks.values(), key=lambda stack: stack.parameters, reverse=True)
    fitting = [stack for stack in stacks if len(stack.layers) == count and "encoder" not in stack.path]
    chosen = [*fitting, *(stack for stack in stacks if "decoder" in stack.path), *stacks]
    if not chosen:
        raise WorkshopError(
            f"{config.where} describes no stack of layers that generates text; choose a language model."
        )
    return chosen[0]


def read_mixers(
    model: Any, text: Any, stack: Stack, config: Config
) -> tuple[list[Mixer], list[Attention | None]]:
    """Return the mixer of every layer, and the cross-attention of those that have one.

    WorkshopError where neither a pass nor the fields say what is kept: a wrong cache is worse than none.
    """
    count = len(stack.layers)
    if not model.can_generate():
        return [ConstantState()] * count, []
    try:
        own, cross = observed_caches(model)
        if len(own) != count:
            raise LookupError(f"{len(own)} caches for {count} layers")
    except Exception as error:
        try:
            return stated_mixers(model, text, stack.path, count), []
        except Exception:  # fields that lack, differ by layer or do not fit what was built
            reason = " ".join(str(error).split())[:120]
            raise WorkshopError(
                f"{config.where} builds a {type(model).__name__}, and how much of each token it keeps is not "
                f"known ({reason}); choose another model, or one of the catalogue that is shaped like it."
            ) from error
    crossings = [mixer_of(layer, text) for layer in cross]
    return (
        [mixer_of(layer, text) for layer in own],
        [mixer if isinstance(mixer, Attention) else None for mixer in crossings],
    )


def layers_of(
    stack: Stack, mixers: list[Mixer], cross: list[Attention | None], text: Any
) -> tuple[Layer, ...]:
    """Return the layers in their order, with the widths of MLP and experts that their parameters give."""
    hidden = int(text.hidden_size)
    routed = first_number(text, *ROUTED)
    active = first_number(text, *ACTIVE) or routed
    layers = []
    for place, index in enumerate(sorted(stack.layers)):
        counts = stack.layers[index]
        experts = None
        if width := gated_width(counts["experts", True], hidden * routed):
            shared = gated_width(counts["shared_experts", True], hidden)
            experts = Experts(
                routed, min(active, routed), width, shared=1 if shared else 0, shared_width=shared or None
            )
        mlp = gated_width(counts["mlp", True], hidden)
        layers.append(
            Layer(
                mixers[place],
                mlp=DenseMlp(mlp) if mlp else None,
                experts=experts,
                cross_attention=cross[place] if place < len(cross) else None,
                counted=pieces(counts),
            )
        )
    return tuple(layers)


def gated_width(values: int, rows: int) -> int:
    """Return the width of gate, up and down that have so many values together, 0 without any.

    A plain MLP of as many values has two matrices and two tensors at its fullest moment in place of three:
    in all as many values a token.
    """
    return -(-values // (3 * rows)) if rows else 0


def vision_tower(parts: Parts, settings: Any) -> VisionTower | None:
    """Return the image tower, None where there is none; its matrices are those in its stacks of blocks."""
    matrices, others = parts.outside["vision", True], parts.outside["vision", False]
    if not matrices + others:
        return None
    tower = getattr(settings, "vision_config", None)
    return VisionTower(
        model_type=str(getattr(tower, "model_type", "vision")),
        layers=first_number(tower, "num_hidden_layers", "depth"),
        hidden_size=first_number(tower, "hidden_size", "embed_dim"),
        patch_size=first_number(tower, "patch_size"),
        parameters=matrices + others,
        matrices=matrices,
    )


def first_number(settings: Any, *names: str) -> int:
    """Return the first field that is a number, of height and width the first; 0 where there is none."""
    for name in names:
        value = getattr(settings, name, None)
        value = value[0] if isinstance(value, list | tuple) and value else value
        if isinstance(value, int):
            return value
    return 0
