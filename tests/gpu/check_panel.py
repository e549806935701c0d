"""The panel's sampler on this machine's real driver: ``python tests/gpu/check_panel.py OUT``.

``cost``: CPU time of a sampler at 1 Hz while every GPU decodes. ``decode``: the speed of that decoding in
interleaved windows with the sampler on and off. ``links``: what the sampler says of PCIe and NVLink beside
what torch copied. ``activity``: utilisation, SM, tensor-core and memory activity of an idle GPU, of decoding,
of a large copy and of a large matrix product. One JSON object in OUT/panel.json, with all raw windows.
``--small`` tries the script on a CPU (no links, no activity).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from workshop_utils.hardware.nvml import Nvml
from workshop_utils.measure.provenance import measured_here
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.sampler import Sampler

COST_SECONDS, WINDOW_SECONDS, PAIRS = 40.0, 3.0, 10
LINK_SECONDS, LINK_HZ, COPY_BYTES = 4.0, 2.0, 2**30
PRODUCT_SIZE = 8192
# What a sample says is of the time since the one before: the first and the last of a window are mixed.
EDGES = 2
FIGURES = (
    "utilization_percent", "sm_percent", "tensor_percent", "dram_percent", "power_watts",
    "pcie_tx_bytes_per_s", "pcie_rx_bytes_per_s", "nvlink_tx_bytes_per_s", "nvlink_rx_bytes_per_s",
)  # fmt: skip


def decode(model: str, tokens: int) -> None:
    """Decode until standard input ends; print the clock and the seconds a token took, a line a run."""
    from workshop_utils.parallel.bench_case import BenchCase, random_prompts
    from workshop_utils.parallel.bench_worker import share_of
    from workshop_utils.parallel.generate import generate
    from workshop_utils.parallel.layout import Layout
    from workshop_utils.parallel.runner import runner_for
    from workshop_utils.parallel.world import join

    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    with join(Layout(1, 1, 1)) as world:
        dtype = "bfloat16" if world.device != "cpu" else "float32"
        case = BenchCase("tensor", model, twin=True, new=tokens, dtype=dtype)
        decoder, prompts = share_of(case, world), random_prompts(case, 1)
        runner = runner_for(decoder)
        while not ended.is_set():
            made = generate(decoder, prompts, tokens, runner=runner)
            print(json.dumps([time.monotonic(), made.tpot_seconds]), flush=True)


def sample(seconds_on: float) -> None:
    """Sample at 1 Hz between the lines ``on`` and ``off`` of stdin; print each one's CPU seconds."""
    sampler, subscription = Sampler(sleep_after_seconds=seconds_on), None
    began = 0.0
    for line in sys.stdin:
        if line.strip() == "on":
            subscription = sampler.subscribe(1.0, lambda: None)
            time.sleep(1.5)  # the first readings open the driver
            began = time.process_time()
        elif subscription is not None:
            print(json.dumps(time.process_time() - began), flush=True)
            subscription.close()
    sampler.stop()


class Role:
    """A process of this script, told by lines, that answers by lines."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, __file__, *words]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.lines: list[Any] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def wait_for(self, count: int, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while len(self.lines) < count:
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"{self.process.args!r} did not answer")
            time.sleep(0.05)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


@contextmanager
def decoding(model: str, tokens: int) -> Iterator[list[Role]]:
    """Decode on every GPU, a process each; yields once all are at their speed."""
    loops = []
    for index in range(max(1, torch.cuda.device_count())):
        loops.append(Role("--role", "decode", "--model", model, "--new", str(tokens), "--gpu", str(index)))
    try:
        for loop in loops:
            loop.wait_for(3)
        yield loops
    finally:
        for loop in loops:
            loop.end()


def cost_and_decode(
    model: str, tokens: int, cost_seconds: float, window: float, pairs: int
) -> dict[str, Any]:
    """Return the sampler's share of a core, and the decoding's speed with it and without."""
    with decoding(model, tokens) as loops:
        sampler = Role("--role", "sampler")
        sampler.tell("on")
        time.sleep(1.5 + cost_seconds)
        sampler.tell("off")
        sampler.wait_for(1)
        windows: list[dict[str, Any]] = []
        for pair in range(pairs):
            # Which comes first takes turns, so that a drift of the clocks counts for both.
            for on in (True, False) if pair % 2 else (False, True):
                sampler.tell("on" if on else "")
                time.sleep(1.5)
                begin = time.monotonic()
                time.sleep(window)
                end = time.monotonic()
                if on:
                    sampler.tell("off")
                    sampler.wait_for(len([each for each in windows if each["on"]]) + 2)
                tpots = [[tpot for at, tpot in loop.lines if begin <= at <= end] for loop in loops]
                windows.append({"on": on, "pair": pair, "tpot_seconds": tpots})
        sampler.end()
        cpu = sampler.lines[0]
    return {
        "cpu_seconds": cpu, "seconds": cost_seconds, "share_of_a_core": cpu / cost_seconds,
        "windows": windows, **speeds(windows),
    }  # fmt: skip


def speeds(windows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of all pairs' ratios of speed, on over off, and all of them."""
    ratios = []
    for pair in sorted({each["pair"] for each in windows}):
        mine = {each["on"]: each["tpot_seconds"] for each in windows if each["pair"] == pair}
        for with_it, without in zip(mine[True], mine[False], strict=True):
            if with_it and without:
                ratios.append(statistics.median(without) / statistics.median(with_it))
    return {"speed_on_over_off": statistics.median(ratios), "ratios": ratios}


class Watch:
    """A sampler of this process; ``during`` says what it saw while something ran."""

    def __init__(self) -> None:
        self.sampler = Sampler()
        self.samples: list[Sample] = []
        self.subscription = self.sampler.subscribe(LINK_HZ, self._take)
        self.driver = Nvml()
        self.uuids = [gpu.uuid or "" for gpu in self.driver.read().data or ()]

    def counted_joules(self) -> list[float]:
        """Return the driver's own counters of energy."""
        return [self.driver.energy_joules(uuid) or 0.0 for uuid in self.uuids]

    def _take(self) -> None:
        taken = self.subscription.take()
        if taken is not None:
            self.samples.append(taken)

    def during(self, work: Callable[[], int], seconds: float) -> dict[str, Any]:
        """Repeat ``work`` for so long; return its bytes a second and the mean of every figure of each GPU."""
        work()
        torch.cuda.synchronize()
        seen, done, before, begin = len(self.samples), 0, self.counted_joules(), time.monotonic()
        while time.monotonic() - begin < seconds:
            done += work()
            for index in range(torch.cuda.device_count()):
                torch.cuda.synchronize(index)
        took = time.monotonic() - begin
        joules = [after - then for after, then in zip(self.counted_joules(), before, strict=True)]
        inner = self.samples[seen + EDGES : -1]
        means: list[dict[str, float | None]] = []
        for index in range(torch.cuda.device_count()):
            gpus = [each.gpus.data[index] for each in inner if each.gpus.data]
            figures = {figure: mean([getattr(gpu, figure) for gpu in gpus]) for figure in FIGURES}
            used = (gpus[-1].energy_joules or 0) - (gpus[0].energy_joules or 0)
            figures["energy_watts"] = used / (inner[-1].ticks - inner[0].ticks)
            figures["counted_watts"] = joules[index] / took
            means.append(figures)
        return {"bytes_per_s": done / took, "samples": len(inner), "gpus": means}


def mean(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def links_and_activity() -> dict[str, Any]:
    """Return what was copied and computed beside what the sampler said of it."""
    watch = Watch()
    time.sleep(3)
    pinned = torch.ones(COPY_BYTES, dtype=torch.uint8, pin_memory=True)
    here = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda:0")
    twin = torch.empty_like(here)
    left = torch.randn(PRODUCT_SIZE, PRODUCT_SIZE, device="cuda:0", dtype=torch.bfloat16)
    result = torch.empty_like(left)

    def nothing() -> int:
        time.sleep(0.1)
        return 0

    def copy(target: torch.Tensor, source: torch.Tensor, times: int = 1) -> Callable[[], int]:
        def work() -> int:
            for _ in range(times):
                target.copy_(source, non_blocking=True)
            return times * COPY_BYTES

        return work

    def product() -> int:
        for _ in range(20):
            torch.mm(left, left, out=result)
        return 0

    found = {
        "idle": watch.during(nothing, LINK_SECONDS),
        "host to GPU 0": watch.during(copy(here, pinned), LINK_SECONDS),
        "GPU 0 to host": watch.during(copy(pinned, here), LINK_SECONDS),
        "copy within GPU 0": watch.during(copy(twin, here, 20), LINK_SECONDS),
        "matrix product on GPU 0": watch.during(product, LINK_SECONDS),
    }
    if torch.cuda.device_count() > 1:
        there = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda:1")
        found["GPU 0 to GPU 1"] = watch.during(copy(there, here, 10), LINK_SECONDS)
        found["GPU 1 to GPU 0"] = watch.during(copy(here, there, 10), LINK_SECONDS)
    newest = watch.sampler.latest()
    watch.sampler.stop()
    reported = [gpu.not_reported for gpu in newest.gpus.data] if newest and newest.gpus.data else []
    return {"links_and_activity": found, "not_reported": reported}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--role", choices=("decode", "sampler"))
    parser.add_argument("--model", default="llama-3.1-8b")
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="windows with the sampler and without")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    if arguments.role == "decode":
        os.environ["LOCAL_RANK"] = str(arguments.gpu)
        decode(arguments.model, arguments.new)
        return
    if arguments.role == "sampler":
        sample(0.0)
        return
    small = arguments.small
    found = cost_and_decode(
        "smollm2-135m" if small else arguments.model,
        4 if small else arguments.new,
        5.0 if small else COST_SECONDS,
        2.0 if small else WINDOW_SECONDS,
        2 if small else arguments.pairs,
    )
    if torch.cuda.is_available():
        found |= links_and_activity()
    provenance = measured_here(
        "the panel's sampler on a real driver", {}, "python tests/gpu/check_panel.py", {}
    )
    found["provenance"] = asdict(provenance)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "panel.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    share, speed = 100 * found["share_of_a_core"], found["speed_on_over_off"]
    print(f"sampler: {share:.3f} % of a core; speed with it {speed:.4f} of that without")
    for what, row in found.get("links_and_activity", {}).items():
        print(what, f"{row['bytes_per_s'] / 1e9:.2f} GB/s", row["gpus"])
    print(found.get("not_reported"))


if __name__ == "__main__":
    main()
