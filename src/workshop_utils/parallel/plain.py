"""Plain transformers: the reference of every strategy's logits, and the figure that each is compared with."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workshop_utils.measure.shape_twin import build_skeleton, materialise
from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.monitor.tokens import count_tokens
from workshop_utils.parallel.big_model.checkpoint import read_checkpoint
from workshop_utils.parallel.generate import Generation, wait
from workshop_utils.parallel.spec import DecoderSpec
from workshop_utils.parallel.weights import TwinWeights, Weights, canonical


def load_model(model: str, *, twin: bool, device: str, dtype: Any) -> Any:
    """Return any transformers model: of a checkpoint's folder, or a shape twin with its own random values.

    WorkshopError, with nothing loaded, for a checkpoint that is not complete.
    """
    if not twin:
        read_checkpoint(Path(model))
        quiet_torchao()
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(Path(model), dtype=dtype).to(device).eval()
    return materialise(build_skeleton(model, dtype=str(dtype).removeprefix("torch.")), [device])


def load_plain(spec: DecoderSpec, *, twin: bool, device: str, dtype: Any) -> Any:
    """Return the transformers model of one of our families; a twin with the values of our twins."""
    model = load_model(spec.model, twin=twin, device=device, dtype=dtype)
    if twin:
        fill(model, TwinWeights(device, dtype, spec.norm_offset))
    return model


def fill(model: Any, weights: Weights) -> None:
    """Copy values into all parameters of a transformers model, by their names."""
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights.read(canonical(name), tuple(parameter.shape)))


def generate_plain(
    model: Any, prompts: list[list[int]], new_tokens: int, progress: Callable[[int], None] = lambda done: None
) -> Generation:
    """Continue prompts of one length with transformers' own ``generate()``, greedily, and time it."""
    import torch

    ids = torch.tensor(prompts, device=model.device)
    device = str(model.device)
    times: list[float] = []

    def each_token(_ids: Any, _scores: Any, **_: Any) -> bool:
        if not times:
            wait(device)
        times.append(time.perf_counter())
        count_tokens(len(prompts))
        progress(len(times))
        return False

    wait(device)
    started = time.perf_counter()
    with torch.inference_mode():
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, min_new_tokens=new_tokens,
            do_sample=False, stopping_criteria=[each_token], pad_token_id=0,
        )  # fmt: skip
    wait(device)
    ended = time.perf_counter()
    return Generation(made[:, ids.shape[1] :].tolist(), times[0] - started, ended - times[0])
