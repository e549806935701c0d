"""What of a GPU is busy (Hopper and later): SMs, tensor cores and memory, from NVML's GPM counters.

"Utilisation" says that some kernel ran; these say which share of the chip it used. Each figure is an average
between two samples of the driver, which must lie 0.2 s apart or more.
Metrics: ``nvmlGpmMetricId_t``, https://docs.nvidia.com/deploy/nvml-api/group__nvmlGpmEnums.html
"""

from types import ModuleType
from typing import Any

METRICS = {"sm_percent": 2, "tensor_percent": 5, "dram_percent": 10}
NO_GPM = "only Hopper and later GPUs count this"


class Activity:
    """Two samples of one GPU's counters; ``read`` takes turns with them. Not thread-safe."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._samples: list[Any] = []
        self._begun = False
        self.supported = bool(nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice)
        if self.supported:
            self._request = nvml.c_nvmlGpmMetricsGet_t()
            self._request.version = nvml.NVML_GPM_METRICS_GET_VERSION
            self._request.numMetrics = len(METRICS)
            for place, number in enumerate(METRICS.values()):
                self._request.metrics[place].metricId = number
            self._samples = [nvml.nvmlGpmSampleAlloc() for _ in range(2)]

    def read(self) -> dict[str, float | None]:
        """Return percent by field since the last call, None at the first. Raises NVMLError."""
        older, newer = self._samples
        self._nvml.nvmlGpmSampleGet(self._handle, older)
        self._samples = [newer, older]
        if not self._begun:
            self._begun = True
            return dict.fromkeys(METRICS)
        self._request.sample1, self._request.sample2 = newer, older
        self._nvml.nvmlGpmMetricsGet(self._request)
        metrics = self._request.metrics
        return {
            field: None if metrics[place].nvmlReturn else metrics[place].value
            for place, field in enumerate(METRICS)
        }

    def close(self) -> None:
        """Give the samples back."""
        for sample in self._samples:
            self._nvml.nvmlGpmSampleFree(sample)
        self._samples = []
