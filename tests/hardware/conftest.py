"""Makes ``tests.nvml_stub`` importable whatever folder pytest was started in."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.nvml_stub.fixtures import stub, stub_library

__all__ = ["stub", "stub_library"]
