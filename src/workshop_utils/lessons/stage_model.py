"""The small real model in the stages of notebook 05."""

from typing import Any

from workshop_utils.models.small_model import small_model_folder
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.pipeline import layers_of_stages
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.weights import CheckpointWeights


def load_stage(stage: int, stages: int, *, room: int, device: str) -> Decoder:
    """Return the layers of one stage, with ``room`` tokens for each sequence.

    In bfloat16 on a GPU; on a CPU in float32, which runs faster there.
    """
    import torch

    dtype: Any = torch.float32 if device == "cpu" else torch.bfloat16
    folder = small_model_folder()
    spec = read_spec(str(folder))
    weights = CheckpointWeights(folder, device, dtype)
    return load_decoder(
        spec, weights, layers=layers_of_stages(spec, stages)[stage], room=room, device=device, dtype=dtype
    )
