"""Fixtures over the stub: import ``stub_library`` and ``stub`` into a ``conftest.py``."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.nvml_stub.build import build_stub, set_faults, stub_environment


@dataclass(frozen=True)
class Stub:
    """The library and the control file of one test."""

    folder: Path
    control: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | stub_environment(self.folder, self.control)

    def set_faults(self, *lines: str) -> None:
        set_faults(self.control, *lines)

    def run_python(self, code: str, **environment: str) -> str:
        """Run a program in a process of its own, for a library stays loaded; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def stub_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the stub NVML library cannot be built; install gcc")
    return build_stub(tmp_path_factory.mktemp("nvml_stub"))


@pytest.fixture
def stub(stub_library: Path, tmp_path: Path) -> Stub:
    control = tmp_path / "nvml_control"
    set_faults(control, "gpus 2")
    return Stub(stub_library, control)
