"""Whether a split model says what plain transformers says: its logits, and every greedy token."""

from typing import Any

from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.generate import Generation
from workshop_utils.parallel.plain import load_plain
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.world import World

CHECKED_TOKENS = 64


def compare_with_plain(
    case: BenchCase, prompts: list[list[int]], made: Generation, world: World
) -> dict[str, Any]:
    """Return the largest difference of any logit, that of all relative to all logits, and of tokens.

    In 16 bits also how far both are from plain transformers in float32, where that fits beside: rounding
    moves both, and nearer to one another than to the truth they need not be.

    Transformers runs on one device, that of the last stage's first rank, and as ``generate()`` does: the
    prompts, then one token after another with a cache. If its likeliest token is ours at every place, its
    greedy answer is ours: the first token would be the same, hence the second, and so on.
    """
    import torch

    if made.logits is None or world.place.tensor != 0:
        return {}
    with torch.inference_mode():
        model = load_plain(
            read_spec(case.model), twin=case.twin, device=world.device, dtype=getattr(torch, case.dtype)
        )
        ids = torch.tensor([[*prompt, *tokens] for prompt, tokens in zip(prompts, made.tokens, strict=True)])
        ids, new = ids.to(world.device), slice(len(prompts[0]) - 1, -1)
        theirs = decoded_logits(model, ids, len(prompts[0]))
        exact = None
        if case.dtype != "float32" and fits_in_float32(model, world.device):
            exact = model.float()(ids).logits[:, new].cpu()
    difference = (made.logits - theirs).abs().max()
    same = theirs.argmax(dim=-1) == torch.tensor(made.tokens)
    return {
        "max_abs_logit_difference": float(difference),
        "relative_logit_difference": relative(made.logits, theirs),
        "relative_to_float32": None if exact is None else relative(made.logits, exact),
        "plain_relative_to_float32": None if exact is None else relative(theirs, exact),
        "greedy_tokens_equal": bool(same.all()),
        "equal_tokens_share": float(same.float().mean()),
    }


def decoded_logits(model: Any, ids: Any, prompt: int) -> Any:
    """Return the logits (batch, new tokens, vocabulary) of each place that makes a new token, on the host."""
    import torch

    step = model(ids[:, :prompt], use_cache=True, logits_to_keep=1)
    logits = [step.logits[:, -1].float().cpu()]
    for place in range(prompt, ids.shape[1] - 1):
        step = model(ids[:, place : place + 1], past_key_values=step.past_key_values, use_cache=True)
        logits.append(step.logits[:, -1].float().cpu())
    return torch.stack(logits, dim=1)


def relative(found: Any, expected: Any) -> float:
    """Return the norm of all differences over that of what was expected."""
    return float((found - expected).norm() / expected.norm())


def fits_in_float32(model: Any, device: str) -> bool:
    """Whether there is room to turn a model from 16 bits into float32, weight by weight."""
    import torch

    if torch.device(device).type != "cuda":
        return True
    values = sum(parameter.numel() for parameter in model.parameters())
    largest = max(parameter.numel() for parameter in model.parameters())
    return bool(torch.cuda.mem_get_info(device)[0] > 2 * values + 4 * largest)
