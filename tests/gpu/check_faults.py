"""Runs that go wrong on this machine's GPUs: ``python tests/gpu/check_faults.py OUT``.

Each fault is one that ``tests/parallel/launch`` makes on a CPU, here with ranks that hold memory of a GPU and
talk over NCCL: a rank killed, out of memory, one that never comes to a collective, an interrupt, two runs at
once, and memory that the launching process holds itself. A line each in OUT/faults.jsonl: what the reader is
told, how long after the fault all was over, and how much GPU memory was then still taken. ``--device cpu``
tries the script without GPUs. The exit code is 1 if any fault ended otherwise than it should.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workshop_utils.hardware.nvml import Nvml
from workshop_utils.parallel.launch.launcher import launch

RANKS, HELD_GIB = 2, 4
# All ranks gone and all memory free so long after a fault; a run on GPUs leaves nothing above this.
MOST_SECONDS, LEFT_BYTES = 10.0, 64 * 2**20
HANG_SECONDS = 8.0
BEGIN = f"""
import os, signal, time
import torch
import torch.distributed as dist
from workshop_utils.parallel.launch import notes
rank = int(os.environ["RANK"])
on_gpu = torch.cuda.is_available() and DEVICE == "cuda"
device = f"cuda:{{os.environ['LOCAL_RANK']}}" if on_gpu else "cpu"
if on_gpu:
    torch.cuda.set_device(device)
held = torch.ones(({HELD_GIB} * 2**30 if on_gpu else 2**20), dtype=torch.uint8, device=device)
dist.init_process_group("nccl" if on_gpu else "gloo", device_id=torch.device(device) if on_gpu else None)
one = torch.ones(1, device=device)
dist.all_reduce(one)
notes.memory(predicted_bytes=int(held.numel()))
open(f"ready{{rank}}", "w").close()
"""
KILLED = """
if rank == 1:
    open("fault", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
dist.all_reduce(one)
time.sleep(600)
"""
MEMORY = """
if rank == 1:
    time.sleep(1)
    open("fault", "w").close()
    torch.empty(2**42, dtype=torch.uint8, device=device)
time.sleep(600)
"""
HANG = """
if rank == 1:
    open("fault", "w").close()
    while True:
        time.sleep(1)
with notes.waiting("the sum of layer 3"):
    dist.all_reduce(one)
    print(one.item())
"""
WAIT = "time.sleep(600)\n"
SUM = 'notes.hand_back({"sum": one.item()})\ndist.destroy_process_group()\n'
COMMAND = [sys.executable, "-m", "workshop_utils", "run", "--ranks", str(RANKS)]


class Faults:
    """Runs the faults one after another, each in a folder of its own."""

    def __init__(self, device: str, out: Path) -> None:
        self.device, self.out = device, out
        self.nvml = Nvml()
        self.wrong = 0

    def used_bytes(self) -> list[int]:
        """Return the memory that is taken on each GPU."""
        if self.device == "cpu":
            return []
        return [gpu.memory_used_bytes or 0 for gpu in self.nvml.read().data or ()]

    def run(self, name: str, fault: Callable[[Path], dict[str, Any]], fine: Callable[[Any], bool]) -> None:
        """Make one fault, wait for its memory, and keep a line."""
        before = self.used_bytes()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            os.chdir(folder)
            row = {"fault": name, **fault(folder)}
            touched = folder / "fault"
            end = time.time()
            began = touched.stat().st_mtime if touched.exists() else end
            row["seconds_to_the_end"] = end - began
            left = self.left(before)
            while max(left, default=0) > LEFT_BYTES and time.time() - began < MOST_SECONDS:
                time.sleep(0.1)
                left = self.left(before)
            os.chdir(self.out)
        row |= {"seconds_to_free_memory": time.time() - began, "left_bytes": left, "device": self.device}
        limit = MOST_SECONDS + (HANG_SECONDS if name == "hang" else 0)
        row["fine"] = bool(
            fine(row) and row["seconds_to_the_end"] < limit and max(left, default=0) <= LEFT_BYTES
        )
        self.wrong += not row["fine"]
        with (self.out / "faults.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    def left(self, before: list[int]) -> list[int]:
        return [max(0, now - then) for now, then in zip(self.used_bytes(), before, strict=True)]

    def script(self, folder: Path, text: str) -> Path:
        path = folder / "script.py"
        path.write_text(f"DEVICE = {self.device!r}\n{BEGIN}{text}", encoding="utf-8")
        return path

    def launched(self, text: str, **options: Any) -> Callable[[Path], dict[str, Any]]:
        def fault(folder: Path) -> dict[str, Any]:
            result = launch(self.script(folder, text), ranks=RANKS, device=self.device, **options)
            return {"outcome": result.outcome, "message": result.message}

        return fault

    def interrupted(self, folder: Path) -> dict[str, Any]:
        """Interrupt the command, as a terminal or a notebook's kernel does, while ranks hold memory."""
        command = [*COMMAND, "--device", self.device, str(self.script(folder, WAIT))]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            end = time.monotonic() + 120
            while not all((folder / f"ready{rank}").exists() for rank in range(RANKS)):
                if time.monotonic() > end:
                    raise SystemExit("the ranks did not become ready")
                time.sleep(0.1)
            (folder / "fault").touch()
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[0]
        return {"outcome": f"exit code {process.returncode}", "message": said[-400:]}

    def two_at_once(self, folder: Path) -> dict[str, Any]:
        command = [*COMMAND, "--device", self.device, "--json", str(self.script(folder, SUM))]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        printed = [json.loads(process.communicate(timeout=180)[0]) for process in both]
        sums = [[row["sum"] for row in each["measurements"]] for each in printed]
        return {"outcome": " and ".join(each["outcome"] for each in printed), "message": str(sums)}

    def held_by_the_launcher(self, folder: Path) -> dict[str, Any]:
        """Run from a process that has taken memory of GPU 0, as a notebook's kernel may have."""
        text = f"""
import torch
from workshop_utils.parallel.launch.launcher import launch
held = torch.ones({HELD_GIB} * 2**30, dtype=torch.uint8, device="cuda:0") if {self.device!r} == "cuda" else 0
print(launch({str(self.script(folder, SUM))!r}, ranks={RANKS}, device={self.device!r}).outcome)
"""
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, timeout=180, check=False
        )
        return {"outcome": done.stdout.strip().rsplit("\n", 1)[-1], "message": done.stdout[:400]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    faults = Faults(arguments.device, out)
    gpu = arguments.device == "cuda"
    faults.run("killed", faults.launched(KILLED), lambda row: "Rank 1 was ended by SIGKILL" in row["message"])
    faults.run(
        "out of memory",
        faults.launched(MEMORY),
        lambda row: "Rank 1" in row["message"] and (not gpu or row["outcome"] == "out_of_memory"),
    )
    faults.run(
        "hang",
        faults.launched(HANG, timeout_seconds=HANG_SECONDS),
        lambda row: "rank 0 has waited in the sum of layer 3" in row["message"],
    )
    faults.run(
        "interrupt",
        faults.interrupted,
        lambda row: row["outcome"] == "exit code 130" and "Interrupted" in row["message"],
    )
    faults.run(
        "two runs at once", faults.two_at_once, lambda row: row["message"] == "[[2.0, 2.0], [2.0, 2.0]]"
    )
    faults.run(
        "memory held by the launcher",
        faults.held_by_the_launcher,
        lambda row: row["outcome"] == "finished" and (not gpu or "Note:" in row["message"]),
    )
    return 1 if faults.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
