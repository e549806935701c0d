"""Whether a split model says what plain transformers says: its logits, and every greedy token."""

from typing import Any

from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.generate import Generation
from workshop_utils.parallel.plain import load_plain
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.world import World


def compare_with_plain(
    case: BenchCase, prompts: list[list[int]], made: Generation, world: World
) -> dict[str, Any]:
    """Return the largest difference of any logit, that of all relative to all logits, and of tokens.

    Transformers runs prompts and answers in one pass on one device, that of the last stage's first rank. If
    its likeliest token is ours at every place, its greedy answer is ours: the first token would be the same,
    hence the second, and so on.
    """
    import torch

    if made.logits is None or world.place.tensor != 0:
        return {}
    with torch.inference_mode():
        model = load_plain(
            read_spec(case.model), twin=case.twin, device=world.device, dtype=getattr(torch, case.dtype)
        )
        ids = torch.tensor([[*prompt, *tokens] for prompt, tokens in zip(prompts, made.tokens, strict=True)])
        theirs = model(ids.to(world.device)).logits[:, len(prompts[0]) - 1 : -1].float().cpu()
    difference = (made.logits - theirs).abs().max()
    same = theirs.argmax(dim=-1) == torch.tensor(made.tokens)
    return {
        "max_abs_logit_difference": float(difference),
        "relative_logit_difference": float((made.logits - theirs).norm() / theirs.norm()),
        "greedy_tokens_equal": bool(same.all()),
        "equal_tokens_share": float(same.float().mean()),
    }
