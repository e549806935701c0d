"""What each call into this machine's driver costs: ``python tests/gpu/nvml_costs.py OUT [--calls 50]``.

Prints and keeps (OUT/nvml_costs.json), for every NVML function that the panel asks or might ask, the CPU time
and the wall time of a call in microseconds, and its answer. ``--traffic`` copies between host and GPU, and
between two GPUs, as well, and puts what the driver says of PCIe and NVLink beside what was copied.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pynvml as nvml

from workshop_utils.monitor.host import Host

FIELDS = {
    "NVLink, 2 counters": [(138, 0xFFFFFFFF), (139, 0xFFFFFFFF)],
    "PCIe, 2 counters": [(197, 0), (198, 0)],
    "energy": [83],
    "average power": [185],
    "momentary power": [186],
    "NVLink, energy, power": [(138, 0xFFFFFFFF), (139, 0xFFFFFFFF), (83, 0), (186, 0)],
}
# nvmlGpmMetricId_t: SM, tensor cores, memory; PCIe and NVLink in MiB/s.
GPM = {"sm": 2, "tensor": 5, "dram": 10, "pcie_tx": 20, "pcie_rx": 21, "nvlink_rx": 60, "nvlink_tx": 61}
COPY_BYTES = 2**30


def calls(handle: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each function's name and a call of it."""
    plain = (
        ("nvmlDeviceGetUtilizationRates", ()), ("nvmlDeviceGetPowerUsage", ()),
        ("nvmlDeviceGetEnforcedPowerLimit", ()), ("nvmlDeviceGetTotalEnergyConsumption", ()),
        ("nvmlDeviceGetTemperature", (0,)), ("nvmlDeviceGetClockInfo", (1,)),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", ()), ("nvmlDeviceGetComputeRunningProcesses", ()),
        ("nvmlDeviceGetPcieThroughput", (0,)), ("nvmlDeviceGetMemoryInfo", (nvml.nvmlMemory_v2,)),
        ("nvmlDeviceGetCount", None),
    )  # fmt: skip
    for name, rest in plain:
        function = getattr(nvml, name)
        yield name, function if rest is None else lambda f=function, r=rest: f(handle, *r)  # type: ignore[misc]
    for name, ids in FIELDS.items():
        yield f"fields: {name}", lambda wanted=ids: nvml.nvmlDeviceGetFieldValues(handle, wanted)  # type: ignore[misc]
    sample = nvml.nvmlGpmSampleAlloc()
    yield "nvmlGpmSampleGet", lambda: nvml.nvmlGpmSampleGet(handle, sample)
    one, two = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    nvml.nvmlGpmSampleGet(handle, one)
    time.sleep(0.3)
    nvml.nvmlGpmSampleGet(handle, two)
    for names in (("sm", "tensor", "dram"), tuple(GPM)):
        request = gpm_request(names, one, two)
        yield f"nvmlGpmMetricsGet of {len(names)}", lambda asked=request: nvml.nvmlGpmMetricsGet(asked)  # type: ignore[misc]


def gpm_request(names: tuple[str, ...], one: Any, two: Any) -> Any:
    request = nvml.c_nvmlGpmMetricsGet_t()
    request.version, request.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, len(names)
    request.sample1, request.sample2 = one, two
    for place, name in enumerate(names):
        request.metrics[place].metricId = GPM[name]
    return request


def cost(call: Callable[[], Any], times: int) -> dict[str, Any]:
    """Return the mean CPU and the median wall time of a call in µs; calls are 5 ms apart, as caches age."""
    wall, cpu = [], 0.0
    try:
        answer = call()
        for _ in range(times):
            time.sleep(0.005)
            begin, used = time.perf_counter(), time.thread_time()
            call()
            cpu += time.thread_time() - used
            wall.append(time.perf_counter() - begin)
    except nvml.NVMLError as error:
        return {"error": str(error)}
    return {
        "cpu_us": 1e6 * cpu / times, "wall_us": 1e6 * statistics.median(wall), "worst_us": 1e6 * max(wall),
        "answer": str(answer)[:80],
    }  # fmt: skip


def traffic(handles: list[Any]) -> list[dict[str, Any]]:
    """Return what GPM and the counters say while torch copies, beside what it copied."""
    import torch

    pinned = torch.ones(COPY_BYTES, dtype=torch.uint8, pin_memory=True)
    here = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda:0")
    small = COPY_BYTES // 100
    ways = [
        ("host to GPU 0", here, pinned, 1), ("GPU 0 to host", pinned, here, 1),
        ("host to GPU 0, a little", here[:small], pinned[:small], 0),
    ]  # fmt: skip
    if torch.cuda.device_count() > 1:
        ways.append(("GPU 0 to GPU 1", torch.empty_like(here, device="cuda:1"), here, 10))
    rows = []
    for name, target, source, count in ways:
        before = counters(handles)
        done, begin = 0, time.monotonic()
        while time.monotonic() - begin < 1.5:
            for _ in range(max(count, 1)):
                target.copy_(source, non_blocking=True)
                done += target.numel()
            for index in range(torch.cuda.device_count()):
                torch.cuda.synchronize(index)
            if not count:
                time.sleep(0.02)
        took = time.monotonic() - begin
        after = counters(handles)
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            request = gpm_request(tuple(GPM), old["gpm"], new["gpm"])
            nvml.nvmlGpmMetricsGet(request)
            said = {key: request.metrics[place].value for place, key in enumerate(GPM)}
            rows.append({
                "copy": name, "gpu": index, "copied_mib_per_s": done / took / 2**20, "gpm": said,
                "fields": [old["fields"], new["fields"]], "seconds": took,
                "pcie_throughput_kb": new["throughput"],
            })  # fmt: skip
    return rows


def counters(handles: list[Any]) -> list[dict[str, Any]]:
    found = []
    for handle in handles:
        sample = nvml.nvmlGpmSampleAlloc()
        throughput = [nvml.nvmlDeviceGetPcieThroughput(handle, way) for way in (0, 1)]
        fields = nvml.nvmlDeviceGetFieldValues(handle, [(197, 0), (198, 0)])
        nvml.nvmlGpmSampleGet(handle, sample)
        words = [[each.valueType, each.value.ullVal, each.nvmlReturn, each.timestamp] for each in fields]
        found.append({"gpm": sample, "fields": words, "throughput": throughput})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--traffic", action="store_true")
    arguments = parser.parse_args()
    nvml.nvmlInit()
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    found: dict[str, Any] = {"driver": nvml.nvmlSystemGetDriverVersion(), "calls": {}}
    host = Host()
    for name, call in [*calls(handles[0]), ("CPU, memory, disk and network of the job", host.read)]:
        found["calls"][name] = row = cost(call, arguments.calls)
        said = {key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()}
        print(f"{name:50s}", said, flush=True)
    if arguments.traffic:
        found["traffic"] = traffic(handles)
        for row in found["traffic"]:
            print(row, flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "nvml_costs.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
