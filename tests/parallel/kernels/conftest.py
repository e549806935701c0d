"""Kernels run here in Triton's interpreter, on the CPU, which must be asked for before Triton is imported."""

import os
import sys

import pytest

TOO_LATE = "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1"
if not TOO_LATE:
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton", reason="the kernels need Triton, which has wheels for Linux alone")


@pytest.fixture(autouse=True)
def interpreter() -> None:
    if TOO_LATE:
        pytest.fail("Triton was imported before these tests were; set TRITON_INTERPRET=1 for the whole run")
