"""Where other libraries keep their caches: off a small home quota on a cluster, where they are elsewhere.

Standard library only: the bootstrap uses it before anything is installed.
"""

import os

from workshop_utils.storage import cache_folder, scratch_folder

# variable -> folder below the cache; each is the library's documented way to move its cache.
VARIABLES = {
    # Not HF_HOME, which holds the reader's token too: that stays where `hf auth login` put it.
    "HF_HUB_CACHE": "huggingface/hub",
    "HF_XET_CACHE": "huggingface/xet",
    "TORCH_HOME": "torch",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "PIP_CACHE_DIR": "pip",
    "UV_CACHE_DIR": "uv",
    "npm_config_cache": "npm",
    "YARN_GLOBAL_FOLDER": "yarn",
}


def cache_variables() -> dict[str, str]:
    """Return the environment variables that move caches off the home quota.

    Nothing where neither ``WORKSHOP_CACHE`` nor a scratch folder says that the home is not the place; nothing
    for a variable that the reader has set; HF_HOME stands for both of Hugging Face's.
    """
    if not os.environ.get("WORKSHOP_CACHE") and scratch_folder() is None:
        return {}
    folder = cache_folder()
    return {name: str(folder / below) for name, below in VARIABLES.items() if not chosen_by_reader(name)}


def chosen_by_reader(name: str) -> bool:
    """Say whether the reader has already said where this cache goes."""
    return bool(os.environ.get(name) or (name.startswith("HF_") and os.environ.get("HF_HOME")))
