"""Which part a parameter of a built model belongs to, from its name and place in the module tree."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from workshop_utils.models.architecture import Piece

# The first pattern that a name holds decides.
OUTSIDE = (
    ("vision", r"vision|visual|image|pixel|patch|perceiver|multi_modal|mm_projector"),
    ("other", r"audio|speech|feature_extractor"),
    ("norms", r"norm|(^|\.)ln_?\w*\.(weight|bias)$"),
    ("embedding", r"emb|wte|wpe|position|shared"),
)
INSIDE = (
    ("embedding", r"relative_attention_bias|position_bias"),
    ("norms", r"norm\w*\.(weight|bias)$|norm\w*$|(^|\.)ln_?\w*\.(weight|bias)$"),
    ("router", r"router|shared_expert_gate|(mlp|moe|mixer|ffn|feed_forward|feedforward)\.gate\."),
    ("shared_experts", r"shared_expert|shared_mlp|residual_mlp"),
    ("experts", r"experts"),
    ("mlp", r"mixer\.(up|down|gate)_proj"),  # Nemotron-H calls its MLPs mixers too
    ("attention", r"attn|attention|mixer|mamba|ssm|linear_att|recurrent|temporal_block|conv|delta"),
    ("mlp", r"mlp|ffn|ff\b|feed_forward|fc\d?|dense|feedforward|intermediate|output|w[123i]\b"),
)


@dataclass(slots=True)
class Stack:
    """The layers of one ``ModuleList``: pieces by the number of the layer."""

    path: str
    layers: dict[int, Counter[tuple[str, bool]]] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        return sum(sum(layer.values()) for layer in self.layers.values())


@dataclass(slots=True)
class Parts:
    """A built model's parameters: stacks of layers by their path, and what stands outside."""

    stacks: dict[str, Stack] = field(default_factory=dict)
    outside: Counter[tuple[str, bool]] = field(default_factory=Counter)


def pieces(counts: Counter[tuple[str, bool]]) -> tuple[Piece, ...]:
    """Return one piece for each part; the keys are part and whether it is a weight matrix."""
    names = dict.fromkeys(part for part, _ in sorted(counts))
    return tuple(Piece(part, counts[part, True], counts[part, False]) for part in names)


def sort_parameters(model: Any) -> Parts:
    """Return every parameter of ``model`` once, tied ones too, by stack and part."""
    parts = Parts()
    head = model.get_output_embeddings()
    of_head = {id(parameter) for parameter in head.parameters()} if head is not None else set()
    embedding = model.get_input_embeddings()
    of_embedding = {id(parameter) for parameter in embedding.parameters()} if embedding is not None else set()
    for spelled, parameter in model.named_parameters():
        name = spelled.lower()
        # Experts stand in one tensor; what a convolution holds is no matrix, nor are the experts' biases.
        matrix = parameter.dim() in {2, 3} and not name.endswith("bias") and "conv" not in name
        size = parameter.numel()
        if id(parameter) in of_embedding:
            parts.outside["embedding", False] += size
            continue
        if id(parameter) in of_head:
            parts.outside["head", False] += size
            continue
        path, index, rest = split(name)
        outer = first_match(OUTSIDE[:2], path if index is not None else name)
        if index is None or outer:
            part = outer or first_match(OUTSIDE, name) or "other"
            parts.outside[part, part == "vision" and matrix and index is not None] += size
            continue
        part = first_match(INSIDE, rest) or "other"
        shrinks = matrix and part in {"attention", "mlp", "experts", "shared_experts"}
        layer = parts.stacks.setdefault(path, Stack(path)).layers.setdefault(index, Counter())
        layer[part, shrinks] += size
    return parts


def split(name: str) -> tuple[str, int | None, str]:
    """Return the stack's path, the layer's number and the rest: a name is cut at its first number."""
    words = name.split(".")
    for place, word in enumerate(words):
        if word.isdigit():
            return ".".join(words[:place]), int(word), ".".join(words[place + 1 :])
    return "", None, name


def first_match(patterns: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the part of the first pattern that ``name`` holds."""
    return next((part for part, pattern in patterns if re.search(pattern, name)), None)
