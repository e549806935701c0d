"""Plain transformers: the reference of every strategy's logits, and the figure that each is compared with."""

from pathlib import Path
from typing import Any

from workshop_utils.measure.shape_twin import build_skeleton, materialise
from workshop_utils.parallel.spec import DecoderSpec
from workshop_utils.parallel.weights import TwinWeights, Weights, canonical


def load_plain(spec: DecoderSpec, *, twin: bool, device: str, dtype: Any) -> Any:
    """Return the transformers model: of a checkpoint's folder, or of the same random values as our twins."""
    if not twin:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(Path(spec.model), dtype=dtype).to(device).eval()
    model = materialise(build_skeleton(spec.model, dtype=str(dtype).removeprefix("torch.")), [device])
    fill(model, TwinWeights(device, dtype, spec.norm_offset))
    return model


def fill(model: Any, weights: Weights) -> None:
    """Copy values into all parameters of a transformers model, by their names."""
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights.read(canonical(name), tuple(parameter.shape)))
