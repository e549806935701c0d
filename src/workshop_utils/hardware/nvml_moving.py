"""The figures of every tick at the price of the driver's calls: its functions, and structures made once.

The binding's wrappers make a structure for each call and look each field up in Python, which ten times a
second for eight GPUs costs more than the driver does. What is wrong is not judged here: the ordinary way
asks again.
"""

import ctypes
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple


class Moving(NamedTuple):
    """A moment of one GPU. Utilisation in percent, memory in bytes."""

    utilization_percent: int
    memory_used_bytes: int
    memory_total_bytes: int


class MovingFigures:
    """Asks one GPU. AttributeError where the binding or the library does not have what is needed."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        use, memory = nvml.c_nvmlUtilization_t(), nvml.c_nvmlMemory_v2_t()
        memory.version = nvml.nvmlMemory_v2
        library = nvml.nvmlLib
        self._ask_use = partial(library.nvmlDeviceGetUtilizationRates, handle, ctypes.byref(use))
        self._ask_memory = partial(library.nvmlDeviceGetMemoryInfo_v2, handle, ctypes.byref(memory))
        # Views into the structures, which they keep alive.
        self._busy = ctypes.c_uint.from_buffer(use, type(use).gpu.offset)
        self._used = ctypes.c_ulonglong.from_buffer(memory, type(memory).used.offset)
        self._total = ctypes.c_ulonglong.from_buffer(memory, type(memory).total.offset)

    def read(self) -> Moving | None:
        """Return the figures, or None if any call did not succeed."""
        if self._ask_use() or self._ask_memory():
            return None
        return Moving(self._busy.value, self._used.value, self._total.value)


def moving_figures(nvml: ModuleType, handle: Any) -> MovingFigures | None:
    """Return None where only the binding's wrappers can be asked."""
    try:
        return MovingFigures(nvml, handle)
    except AttributeError:  # an old binding or driver
        return None
