"""Where the weights are that a run asks for by name."""

from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.models.catalogue import load_catalogue
from workshop_utils.models.find import cached_config_file, config_file, find_architecture
from workshop_utils.models.small_model import small_model_folder

# The catalogue's name of the small real model that comes with the workshop.
SMALL_MODEL = "smollm2-135m"


def model_with_weights(model: str, twin: bool) -> str:
    """Return what a run loads: a folder with a checkpoint, or for a ``twin`` the name or config itself.

    Raises WorkshopError for an unknown model, and for one of which only the config is here.
    """
    find_architecture(model)
    entry = next((one for one in load_catalogue() if model.casefold() in map(str.casefold, one.ids)), None)
    if twin:
        return model
    if entry is not None and entry.name == SMALL_MODEL:
        return str(small_model_folder())
    cached = (cached_config_file(hf_id) for hf_id in ((entry.hf_id, *entry.also) if entry else (model,)))
    file = next((found for found in cached if found), None) or (None if entry else config_file(model))
    if file is None or not list(Path(file).parent.glob("*.safetensors")):
        raise WorkshopError(
            f"no weights of {model} are here; add --twin for random weights of the same shape, name a folder "
            f"with a checkpoint, or take {SMALL_MODEL}, which comes with the workshop."
        )
    return str(Path(file).parent)
