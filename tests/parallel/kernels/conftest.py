"""Kernels run here in Triton's interpreter, which ``tests/conftest.py`` asks for."""

import pytest

pytest.importorskip("triton", reason="the kernels need Triton, which has wheels for Linux alone")
