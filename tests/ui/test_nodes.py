"""The other nodes of a Slurm job in the panel, and GPUs of this one that are another job's."""

import json
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from ui.browser import OURS, Watched
from ui.conftest import Stub
from ui.lab import Lab
from ui.panel import CHANGE_THEME, STATUS_MS, Panel, open_panel
from ui.test_access import violations
from ui.test_panel import LOADED_BYTES

from workshop_utils.monitor.node_reading import NodeGpu, NodeHost, NodeReading
from workshop_utils.monitor.nodes_file import SILENT, UNWRITTEN, NodeFigures, OtherNodes, write_nodes

# What the first frame of other nodes loads beside the panel.
NODES_BYTES = 7_000
GIB = 2**30
GPUS = (
    NodeGpu(0, "NVIDIA H200", "ok", None, 37, 60 * GIB, 140 * GIB, 310.5, True),
    NodeGpu(1, "NVIDIA H200", "ok", None, 0, GIB, 140 * GIB, 80.0, False),
    NodeGpu(2, "NVIDIA H200", "lost", "It fell off the bus.", None, None, None, None, True),
)
READING = NodeReading(1790000000.0, GPUS, None, NodeHost(25.0, 8.0, 12 * GIB, 64 * GIB), None)
BARE = replace(READING, gpus=(), gpus_error="This machine has no NVIDIA driver.")
BUSIER = replace(READING, gpus=(replace(GPUS[0], utilization_percent=57), *GPUS[1:]))
THEMES = ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"]


class Command:
    """What ``workshop nodes`` would write into this Lab's runtime folder, once a second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stopped = threading.Event()
        first = NodeFigures("gpu-b").with_reading(READING, time.time()).with_reading(BUSIER, time.time())
        self.nodes = (first, NodeFigures("gpu-c").with_reading(BARE, time.time()))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def write(self, ended: str | None) -> None:
        write_nodes(self._file, OtherNodes("77", 1, time.time(), time.time(), ended, self.nodes))

    def stop(self, ended: str | None = None) -> None:
        """Stop writing as when it is killed, or with the sentence of a proper end."""
        self._stopped.set()
        self._thread.join()
        if ended is not None:
            self.write(ended)

    def _run(self) -> None:
        while not self._stopped.wait(0.5):
            live, silent = self.nodes
            self.nodes = (replace(live, received_at=time.time()), silent)
            self.write(None)


@contextmanager
def running_command(lab: Lab) -> Iterator[Command]:
    file = lab.home / "runtime" / f"workshop-nodes-{platform.node()}.json"
    command = Command(file)
    try:
        yield command
    finally:
        command.stop()
        file.unlink(missing_ok=True)


def node(panel: Panel, name: str) -> Locator:
    return panel.node.get_by_role("region", name=re.compile(f"^{name}"))


def row(card: Locator, name: str) -> Locator:
    return card.get_by_role("row", name=re.compile(f"^{name}"))


def test_other_nodes_come_grow_old_and_end(watched: Watched, gpu_lab: Lab, output: Path) -> None:
    panel = open_panel(watched, gpu_lab)
    others = panel.node.get_by_role("region", name="Other nodes of this job")
    panel.page.wait_for_timeout(1_500)
    expect(others).to_have_count(0)
    before = panel.page.evaluate(LOADED_BYTES, OURS)
    with running_command(gpu_lab) as command:
        card = node(panel, "gpu-b")
        expect(card).to_be_visible(timeout=10_000)
        more = panel.page.evaluate(LOADED_BYTES, OURS) - before
        print(f"{more} bytes for other nodes")
        assert 0 < more < NODES_BYTES
        expect(card.get_by_role("heading")).to_have_text("gpu-b 3 × NVIDIA H200")
        expect(row(card, "GPU 0")).to_contain_text("57 % (47 %)")
        expect(row(card, "GPU 0")).to_contain_text("60.0 of 140 GiB")
        expect(row(card, "GPU 0")).not_to_contain_text("not in this job")
        expect(row(card, "GPU 1")).to_contain_text("not in this job")
        expect(row(card, "GPU 2")).to_contain_text("It fell off the bus.")
        expect(row(card, "CPU, RAM")).to_contain_text("25 % of 8 cores")
        expect(row(card, "CPU, RAM")).to_contain_text("12.0 of 64.0 GiB")
        expect(node(panel, "gpu-c")).to_contain_text("This machine has no NVIDIA driver.")
        # Its collector was heard once only.
        expect(node(panel, "gpu-c")).to_contain_text(SILENT, timeout=10_000)
        expect(card).not_to_contain_text(SILENT)
        card.scroll_into_view_if_needed()
        panel.page.screenshot(path=output / "panel-nodes.png")
        command.stop()
        expect(others).to_contain_text(UNWRITTEN, timeout=12_000)
        command.stop("The figures of the other nodes have ended: `workshop nodes` was stopped (Ctrl-C).")
        expect(others).to_contain_text("was stopped (Ctrl-C)", timeout=5_000)
        expect(row(card, "GPU 0")).to_contain_text("57 %")  # the last that was known
    expect(others).to_be_hidden(timeout=5_000)
    panel.expect_live()
    assert watched.our_complaints() == []


def test_what_is_no_file_of_nodes_breaks_nothing(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    file = gpu_lab.home / "runtime" / f"workshop-nodes-{platform.node()}.json"
    with running_command(gpu_lab) as command:
        expect(node(panel, "gpu-b")).to_be_visible(timeout=10_000)
        command.stop()
        row = json.loads(file.read_text())
        row["nodes"][0]["name"] = "<img src=x onerror=alert(1)>"
        file.write_text(json.dumps(row))
        expect(panel.node.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible(timeout=5_000)
        file.write_text("[" * 10_000)
        expect(node(panel, "gpu-b")).to_be_hidden(timeout=5_000)
    panel.expect_live()
    assert watched.our_complaints() == []


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing(watched: Watched, gpu_lab: Lab, output: Path, theme: str) -> None:
    panel = open_panel(watched, gpu_lab)
    with running_command(gpu_lab):
        panel.page.evaluate(CHANGE_THEME, theme)
        panel.page.set_viewport_size({"width": 1280, "height": 1800})
        expect(node(panel, "gpu-c")).to_contain_text(SILENT, timeout=15_000)
        panel.page.wait_for_timeout(1_000)
        panel.page.screenshot(path=output / f"nodes-{theme.split(' ', 1)[1].lower().replace(' ', '-')}.png")
        found = violations(panel.page)
        assert not found, json.dumps(found, indent=1)


@pytest.fixture
def limited_lab(stub: Stub, tmp_path: Path) -> Iterator[Callable[[str], Lab]]:
    """Start a Lab whose job holds these GPUs of the machine's two."""
    labs = []

    def start(visible: str) -> Lab:
        stub.set("gpus 2")
        lab = Lab(tmp_path / "limited", stub.environment | {"CUDA_VISIBLE_DEVICES": visible})
        lab.home.mkdir()
        lab.start()
        labs.append(lab)
        return lab

    yield start
    for lab in labs:
        lab.stop()


def test_a_gpu_of_another_job_is_set_back_and_says_so(
    watched: Watched, limited_lab: Callable[[str], Lab], output: Path
) -> None:
    panel = open_panel(watched, limited_lab("1"))
    panel.expect_gpus(2)
    other, mine = panel.gpu(0), panel.gpu(1)
    expect(other.node.get_by_role("heading")).to_contain_text("not in this job · NVIDIA H200")
    expect(mine.node.get_by_role("heading")).not_to_contain_text("not in this job")
    opacity = "node => getComputedStyle(node).opacity"
    assert float(other.chart.evaluate(opacity)) < 1 == float(mine.chart.evaluate(opacity))
    expect(panel.status).to_have_text(re.compile(r"^GPU \d+ %"), timeout=STATUS_MS)  # of the one that is mine
    expect(other.busy).to_have_text(re.compile(r"^\d+ %$"))  # shown all the same
    assert not violations(panel.page)
    panel.page.screenshot(path=output / "panel-not-mine.png")
    assert watched.our_complaints() == []
