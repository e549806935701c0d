"""Images that vLLM's profiling run passes through the tower: as many as one batch may hold."""

from dataclasses import dataclass

from workshop_utils.memory.vllm.releases import constants
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage

CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Images:
    """``kept_bytes`` (pixels, features) stay until the end of the run, ``tower_bytes`` only in the tower."""

    kept_bytes: int
    formula: str
    tower_bytes: int
    tower_formula: str


def profiled_images(stage: Stage, settings: Settings) -> Images | None:
    """Return the images of the run, None without a tower or where its images are not known.

    Source: ``MultiModalBudget`` (vllm/multimodal/encoder_budget.py): max_num_batched_tokens / tokens of one.
    """
    tower = stage.architecture.vision
    skipped = settings.second_runner and not settings.release.second_runner_profiles_images
    if tower is None or not stage.first or skipped or tower.model_type not in constants()["image"]:
        return None
    image = constants()["image"][tower.model_type]
    side, tokens = image["side"], image["tokens"]
    count = max(1, settings.batched_tokens // tokens)
    patches = count * (side // tower.patch_size) ** 2
    # Of a block: 4 attention matrices and 2 of the MLP, from which its width follows.
    width = (tower.matrices // tower.layers - 4 * tower.hidden_size**2) // (2 * tower.hidden_size)
    bytes_each = settings.value_bytes
    pixels = count * CHANNELS * side * side * bytes_each
    features = count * tokens * stage.architecture.hidden_size * bytes_each
    return Images(
        kept_bytes=pixels + features,
        formula=f"{count} images × (3 × {side}² pixels + {tokens} × {stage.architecture.hidden_size:,})",
        # The tower runs uncompiled: residual, normed input, the MLP's width before and after its activation.
        tower_bytes=patches * (2 * tower.hidden_size + 2 * width // stage.ranks) * bytes_each,
        tower_formula=f"{patches:,} patches × (2 × {tower.hidden_size:,} + 2 × {width:,})",
    )
