"""A recording in a tab of Lab as a reader finds it, and recordings to put there."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page
from ui.lab import Lab
from ui.panel import Card

HARDWARE = ["NVIDIA H100 80GB HBM3"] * 2 + ["CPU AMD EPYC 9654, 192 cores"]
TOTAL = 80 * 2**30
OPEN = "path => window.jupyterapp.commands.execute('docmanager:open', { path }).then(() => null)"


def header(**more: Any) -> dict[str, Any]:
    return {
        "version": 1, "kind": "trace", "time": 1790000000.0, "hz": 1.0, "command": ["python", "generate.py"],
        "date": "2026-09-21T14:13:20+00:00", "hardware": HARDWARE,
        "versions": {"torch": "2.11.0", "vllm": "0.26.0"}, **more,
    }  # fmt: skip


def sample(second: int) -> dict[str, Any]:
    """Two GPUs whose figures say which second it is: utilisation is the second, memory in GiB as well."""
    gpus = [
        {
            "index": index, "name": HARDWARE[0], "status": "ok", "error": None,
            "utilization_percent": second % 100, "memory_used_bytes": (second % 80) * 2**30,
            "memory_total_bytes": TOTAL, "power_watts": 400.0, "power_limit_watts": 700.0,
            "processes": [{"pid": 77, "memory_bytes": 5 * 2**30}], "not_reported": {},
        }
        for index in (0, 1)
    ]  # fmt: skip
    host = {
        "cpu_percent": 50.0, "cpu_limit_cores": 16.0, "cpu_limit_source": "cgroup v2",
        "machine_cpu_cores": 192,
        "memory_used_bytes": 2**34, "memory_limit_bytes": 2**36, "memory_limit_source": "cgroup v2",
        "machine_memory_total_bytes": 2**40, "job_ends_at": 1790000600.0, "not_reported": {},
    }  # fmt: skip
    return {
        "version": 1, "kind": "sample", "time": 1790000000.0 + second,
        "gpus": {"status": "ok", "error": None, "data": gpus},
        "host": {"status": "ok", "error": None, "data": host},
    }  # fmt: skip


def lines(seconds: int = 90, gap: range = range(0)) -> list[str]:
    """A whole trace: a mark at second 30, a warning and an owner from second 60 on, nothing in the gap."""
    rows: list[dict[str, Any]] = [header()]
    for second in range(seconds + 1):
        if second == 30:
            rows.append({"kind": "mark", "time": 1790000030.0, "text": "prefill ended"})
        if second == 60:
            owner = {"pid": 77, "command": "python", "notebook": "07.ipynb"}
            warning = {"kind": "gpu_memory", "gpu": 0, "text": "GPU 0 is nearly out of memory."}
            rows.append({"version": 1, "kind": "owners", "owners": [owner]})
            rows.append({"version": 1, "kind": "warnings", "warnings": [warning]})
        if second not in gap:
            rows.append(sample(second))
    return [json.dumps(row) for row in [*rows, {"kind": "end", "time": 1790000000.0 + seconds}]]


@dataclass(frozen=True)
class Replay:
    """A recording in the main area."""

    page: Page

    @property
    def node(self) -> Locator:
        return self.page.get_by_role("region", name="GPU recording")

    @property
    def banner(self) -> Locator:
        return self.node.locator(".wm-banner")

    @property
    def slider(self) -> Locator:
        return self.node.get_by_role("slider", name="Position")

    def button(self, name: str) -> Locator:
        return self.node.get_by_role("button", name=name, exact=True)

    def gpu(self, index: int) -> Card:
        return Card(self.node.get_by_role("region", name=f"GPU {index}"))

    @property
    def job(self) -> Card:
        return Card(self.node.get_by_role("region", name="CPU and main memory"))

    @property
    def sentence(self) -> Locator:
        """What stands in place of a recording that cannot be shown."""
        return self.page.locator(".wm-replay-notice .wm-notice-text")


def put(lab: Lab, name: str, text: str) -> Path:
    """Write a file into the folder that Lab's file browser shows."""
    file = lab.home / "work" / name
    file.write_text(text, encoding="utf-8")
    return file


def open_recording(page: Page, path: str) -> Replay:
    page.evaluate(OPEN, path)
    return Replay(page)
