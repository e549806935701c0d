"""What tests of several rooms share: the small real model, and a home of their own."""

import os
from pathlib import Path

import pytest

# Kernels run in Triton's interpreter, on the CPU. It must be asked for before anything imports Triton, as
# some modules of transformers do.
os.environ.setdefault("TRITON_INTERPRET", "1")

from workshop_utils.errors import WorkshopError
from workshop_utils.models.small_model import prepare_small_model

# What decides where the workshop and Jupyter read and write, apart from HOME.
PLACES = ("WORKSHOP_", "XDG_", "JUPYTER_", "IPYTHONDIR", "SCRATCH", "SLURM_", "HF_", "TQDM_DISABLE")


@pytest.fixture(scope="session")
def small_model() -> Path:
    """The real model's folder: taken from this machine's cache, or prepared there once for all workers."""
    try:
        return prepare_small_model()
    except WorkshopError as error:
        pytest.skip(f"the small real model cannot be had: {error}")


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home with nothing set that leads out of it; for subprocesses too."""
    for name in list(os.environ):
        if name.startswith(PLACES):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "a-reader-of-the-workshop")
    return home
