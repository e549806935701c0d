"""What of a GPU is busy (Hopper and later): SMs, tensor cores, memory and links, from NVML's GPM counters.

"Utilisation" says that some kernel ran; these say which share of the chip it used. Each figure is an average
between two samples of the driver, which must lie 0.2 s apart or more.
One call of some 0.15 ms of CPU time tells all of them; NVLink's own counters take 2.4 ms (H200, driver 580).
Metrics: ``nvmlGpmMetricId_t``, https://docs.nvidia.com/deploy/nvml-api/group__nvmlGpmEnums.html
"""

import math
from types import ModuleType
from typing import Any, NamedTuple

from workshop_utils.units import MIB


class Metric(NamedTuple):
    """A metric's number, and what its unit is of the field's."""

    number: int
    unit: float = 1


BUSY = {"sm_percent": Metric(2), "tensor_percent": Metric(5), "dram_percent": Metric(10)}
PCIE = {"pcie_tx_bytes_per_s": Metric(20, MIB), "pcie_rx_bytes_per_s": Metric(21, MIB)}
# All links together.
NVLINK = {"nvlink_tx_bytes_per_s": Metric(61, MIB), "nvlink_rx_bytes_per_s": Metric(60, MIB)}
METRICS = BUSY | PCIE | NVLINK
NO_GPM = "only Hopper and later GPUs count this"


class Activity:
    """Two samples of one GPU's counters; ``read`` takes turns with them. Not thread-safe.

    ``instance``: count one MIG instance alone, by the driver's number of its GPU instance.
    """

    def __init__(self, nvml: ModuleType, handle: Any, instance: int | None = None) -> None:
        self._nvml = nvml
        self._handle = handle
        self._instance = instance
        self._samples: list[Any] = []
        self._begun = False
        self.supported = bool(nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice)
        if self.supported:
            self._request = nvml.c_nvmlGpmMetricsGet_t()
            self._request.version = nvml.NVML_GPM_METRICS_GET_VERSION
            self._request.numMetrics = len(METRICS)
            for place, metric in enumerate(METRICS.values()):
                self._request.metrics[place].metricId = metric.number
            self._samples = [nvml.nvmlGpmSampleAlloc() for _ in range(2)]

    def read(self) -> tuple[dict[str, float | None], dict[str, int]]:
        """Return averages since the last call by field (None at the first), and the code of what is missing.

        Raises NVMLError where the driver refuses all.
        """
        older, newer = self._samples
        if self._instance is None:
            self._nvml.nvmlGpmSampleGet(self._handle, older)
        else:
            self._nvml.nvmlGpmMigSampleGet(self._handle, self._instance, older)
        self._samples = [newer, older]
        if not self._begun:
            self._begun = True
            return dict.fromkeys(METRICS), {}
        self._request.sample1, self._request.sample2 = newer, older
        self._nvml.nvmlGpmMetricsGet(self._request)
        figures: dict[str, float | None] = {}
        missing: dict[str, int] = {}
        for place, (field, metric) in enumerate(METRICS.items()):
            said = self._request.metrics[place]
            if said.nvmlReturn:
                missing[field] = said.nvmlReturn
            elif not math.isfinite(said.value):  # which JSON cannot say
                missing[field] = self._nvml.NVML_ERROR_NO_DATA
            else:
                figures[field] = said.value * metric.unit
        return figures, missing

    def close(self) -> None:
        """Give the samples back."""
        for sample in self._samples:
            self._nvml.nvmlGpmSampleFree(sample)
        self._samples = []
