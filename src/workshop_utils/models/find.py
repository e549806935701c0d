"""From what a reader writes to an ``Architecture``: name, Hugging Face id, folder or config.json."""

import os
from typing import TYPE_CHECKING

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.catalogue import bundled_config, load_catalogue
from workshop_utils.models.config import Config, read_json_object
from workshop_utils.models.reading import read_architecture

# A name of the catalogue needs no path, and pathlib takes longer than reading its config.
if TYPE_CHECKING:
    from pathlib import Path


def find_architecture(model: str) -> Architecture:
    """Return the architecture of ``model``.

    ``model`` is a catalogue name or Hugging Face id of the catalogue (in any case), an id that the local
    Hugging Face cache holds, a model folder or a config.json. Raises WorkshopError in one sentence.
    """
    wanted = model.strip()
    if config := bundled_config(wanted.casefold()):
        return read_architecture(config)
    for entry in load_catalogue():
        if wanted.casefold() in {name.casefold() for name in entry.ids}:
            return read_architecture(entry.config())
    file = config_file(wanted) or cached_config_file(wanted)
    if file is None:
        raise unknown_model(wanted)
    name = wanted if file.is_relative_to(hub_folder()) else model_name(file)
    return read_architecture(Config(read_json_object(file), name, str(file)))


def config_file(path_text: str) -> "Path | None":
    """Return the config.json that a path names, None where nothing stands there and it looks like no path."""
    from pathlib import Path

    path = Path(path_text).expanduser()
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):  # a name too long for a path, a null character
        return None
    if path_text and is_folder:
        if not (path / "config.json").is_file():
            raise WorkshopError(
                f"the folder {path} holds no config.json; name a folder that a model was saved in."
            )
        return path / "config.json"
    if path_text and exists:
        return path
    if path.suffix == ".json" or path_text.startswith((".", "~", os.sep)):
        raise WorkshopError(f"{path} does not exist; name a config.json or the folder that holds one.")
    return None


def model_name(file: "Path") -> str:
    """Return the name of a model on disk: its folder's, or the file's where it is not called config.json."""
    return file.resolve().parent.name if file.name == "config.json" else file.stem


def hub_folder() -> "Path":
    """Return the Hugging Face cache: HF_HUB_CACHE, else HF_HOME/hub, else in the XDG cache folder."""
    from pathlib import Path

    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", os.path.join(xdg, "huggingface"))
    return Path(home).expanduser() / "hub"


def cached_config_file(hf_id: str) -> "Path | None":
    """Return config.json of a model in the local cache: of its main branch, else of its newest snapshot."""
    if hf_id.count("/") != 1 or ".." in hf_id:
        return None
    folder = hub_folder() / f"models--{hf_id.replace('/', '--')}"
    main = folder / "refs" / "main"
    if main.is_file():
        commit = main.read_text(encoding="utf-8", errors="replace").strip()
        file = folder / "snapshots" / commit / "config.json"
        if file.is_file():
            return file
    # A snapshot's files are links, and an interrupted download leaves links to nothing.
    files = [file for file in folder.glob("snapshots/*/config.json") if file.is_file()]
    return max(files, key=lambda file: file.stat().st_mtime, default=None)


def unknown_model(model: str) -> WorkshopError:
    """Return the error for a name that is nowhere, with all catalogue names and, first, the closest."""
    import difflib

    names = {name.casefold(): entry.name for entry in load_catalogue() for name in entry.ids}
    close = difflib.get_close_matches(model.casefold(), names, n=4, cutoff=0.55)
    closest = ", ".join(dict.fromkeys(names[match] for match in close))
    hint = f"the closest names are {closest}; all of them: " if close else "the catalogue has "
    return WorkshopError(
        f"no model {model!r} in the catalogue, on disk or in the Hugging Face cache {hub_folder()}; "
        f"{hint}{', '.join(dict.fromkeys(names.values()))}, and a folder with a config.json works too."
    )
