"""Which calls of a real driver may run at the same time: ``python tests/gpu/check_nvml_threads.py OUT``.

Every pair of kinds of calls runs for some seconds in two threads of one process, a process a pair, without
our lock. Keeps the exit code of each (OUT/nvml_threads.json): -11 is a segmentation fault. Others in a Lab
server (jupyterlab-nvdashboard) call NVML from threads of their own, which no lock of ours reaches.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from pathlib import Path

import pynvml as nvml

ALL_LINKS = 0xFFFFFFFF
SM, DRAM = 2, 10
AT_A_TIME, LIMIT_SECONDS = 6, 60


def gpm(handle: object) -> None:
    """Take two samples and compare them."""
    one, two = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    request = nvml.c_nvmlGpmMetricsGet_t()
    request.version, request.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, 2
    request.metrics[0].metricId, request.metrics[1].metricId = SM, DRAM
    nvml.nvmlGpmSampleGet(handle, one)
    time.sleep(0.1)
    nvml.nvmlGpmSampleGet(handle, two)
    request.sample1, request.sample2 = one, two
    nvml.nvmlGpmMetricsGet(request)
    nvml.nvmlGpmSampleFree(one)
    nvml.nvmlGpmSampleFree(two)


def begin_and_end(handle: object) -> None:
    nvml.nvmlInit()
    nvml.nvmlDeviceGetCount()
    nvml.nvmlShutdown()


KINDS: dict[str, Callable[[object], object]] = {
    "gpm": gpm,
    "init": begin_and_end,
    "usage": lambda handle: (
        nvml.nvmlDeviceGetUtilizationRates(handle),
        nvml.nvmlDeviceGetMemoryInfo(handle),
    ),
    "energy": nvml.nvmlDeviceGetTotalEnergyConsumption,
    "fields": lambda handle: nvml.nvmlDeviceGetFieldValues(handle, [(138, ALL_LINKS), (139, ALL_LINKS)]),
    "processes": nvml.nvmlDeviceGetComputeRunningProcesses,
    "pcie": lambda handle: nvml.nvmlDeviceGetPcieThroughput(handle, 0),
    "clocks": lambda handle: (nvml.nvmlDeviceGetClockInfo(handle, 1), nvml.nvmlDeviceGetPowerUsage(handle)),
}


def together(first: str, second: str, seconds: float) -> None:
    """Run two kinds of calls in two threads of this process."""
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    end = time.monotonic() + seconds

    def loop(kind: str) -> None:
        while time.monotonic() < end:
            KINDS[kind](handle)

    threads = [threading.Thread(target=loop, args=(kind,)) for kind in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def exit_code(pair: tuple[str, str], seconds: float) -> int | str:
    command = [sys.executable, "-X", "faulthandler", __file__, "--pair", *pair, "--seconds", str(seconds)]
    try:
        return subprocess.run(command, check=False, timeout=LIMIT_SECONDS).returncode
    except subprocess.TimeoutExpired:
        return f"no end after {LIMIT_SECONDS} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path())
    parser.add_argument("--pair", nargs=2, choices=KINDS)
    parser.add_argument("--seconds", type=float, default=4)
    arguments = parser.parse_args()
    if arguments.pair:
        first, second = arguments.pair
        together(first, second, arguments.seconds)
        return
    pairs = list(combinations_with_replacement(KINDS, 2))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        codes = list(pool.map(lambda pair: exit_code(pair, arguments.seconds), pairs))
    found = {" + ".join(pair): code for pair, code in zip(pairs, codes, strict=True)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "nvml_threads.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print({pair: code for pair, code in found.items() if code != 0} or f"all {len(found)} pairs ended well")


if __name__ == "__main__":
    main()
