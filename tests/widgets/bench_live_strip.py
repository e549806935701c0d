"""What a live strip costs its kernel: ``make bench-strip``. Needs ``cc``, no GPU.

A real kernel over the stub of eight GPUs, at 1 Hz, with a front end that answers every thirty seconds. Its
CPU time is read from the system, with the strip and then without, in turn; the strip costs the difference.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from jupyter_client.manager import start_new_kernel

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.nvml_stub.build import build_stub, set_faults, stub_environment

WARM_UP_S, ANSWER_S = 4.0, 30.0
SHOW = (
    "from workshop_utils.widgets.live_strip import live_strip\n"
    "strip = live_strip()\n"
    "from IPython.display import display\ndisplay(strip)"
)


class Kernel:
    """A kernel, and a front end that shows its strip."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.manager, self.client = start_new_kernel(env=os.environ | environment)
        self.pid: int = self.manager.provisioner.pid

    def run(self, code: str) -> str:
        """Run a cell and return the identifier of the widget that it displayed."""
        self.client.execute(code)
        shown = ""
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            content = message["content"]
            if message["msg_type"] == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            view = content.get("data", {}).get("application/vnd.jupyter.widget-view+json", {})
            shown = view.get("model_id", shown)
            if content.get("execution_state") == "idle" and message["parent_header"].get("msg_type") == (
                "execute_request"
            ):
                return shown

    def cpu_seconds(self) -> float:
        """Return what all threads of the kernel have used, by Linux's clock of that process."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def answer(self, comm: str) -> None:
        """Say what a page says that shows the strip."""
        data = {"method": "custom", "content": {"kind": "here"}}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        self.client.shell_channel.send(message)

    def messages(self) -> int:
        """Return how many rows have come since the last look, and take them from the queue."""
        rows = 0
        while self.client.iopub_channel.msg_ready():
            message = self.client.get_iopub_msg(timeout=1)
            rows += bool(message["buffers"])
        return rows

    def cpu_ms(self, seconds: float, comm: str = "") -> tuple[float, int]:
        """Return milliseconds of CPU a second, and the rows that came meanwhile."""
        self.messages()
        before, start = self.cpu_seconds(), time.monotonic()
        while (left := start + seconds - time.monotonic()) > 0:
            time.sleep(min(ANSWER_S, left))
            if comm:
                self.answer(comm)
        spent = self.cpu_seconds() - before
        return 1000 * spent / (time.monotonic() - start), self.messages()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="of each reading (%(default)g)")
    parser.add_argument("--repeats", type=int, default=3, help="(%(default)d)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        set_faults(folder / "control", "gpus 8")
        kernel = Kernel(stub_environment(build_stub(folder), folder / "control"))
        try:
            readings = measure(kernel, arguments.seconds, arguments.repeats)
        finally:
            kernel.client.stop_channels()
            kernel.manager.shutdown_kernel(now=True)
    print(f"CPU of the kernel with a strip of 8 GPUs at 1 Hz, milliseconds a second: {readings}")
    print(f"median {statistics.median(readings):.2f} (to be under 2)")


def measure(kernel: Kernel, seconds: float, repeats: int) -> list[float]:
    """Return what the strip costs, once a repeat."""
    costs = []
    for _ in range(repeats):
        comm = kernel.run(SHOW)
        time.sleep(WARM_UP_S)
        shown, rows = kernel.cpu_ms(seconds, comm)
        kernel.run("strip.close()")
        time.sleep(1)
        idle, none = kernel.cpu_ms(seconds)
        assert abs(rows - seconds) <= 2 and none <= 1, (rows, none)
        print(f"with the strip {shown:.2f}, without {idle:.2f}, {rows} rows in {seconds:g} s", flush=True)
        costs.append(round(shown - idle, 2))
    return costs


if __name__ == "__main__":
    main()
