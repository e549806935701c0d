"""Jupyter's fixtures for this folder alone, and ``tests.nvml_stub`` whatever folder pytest was started in."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

# A `pytest_plugins` is allowed in the topmost conftest only, and no other folder needs a Jupyter server.
from pytest_jupyter.jupyter_server import *  # noqa: F403
from pytest_jupyter.pytest_tornasync import *  # noqa: F403

from tests.nvml_stub.fixtures import stub, stub_library  # noqa: F401
