"""Warnings in a real JupyterLab: raised by the stub driver's faults, kept, cleared; and the status bar."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from ui.browser import OURS, Watched
from ui.conftest import Stub
from ui.kernel import KERNEL_CODE, RUN_IN_A_KERNEL
from ui.lab import Lab
from ui.panel import STATUS_MS, Panel, open_panel

TOTAL_BYTES = 150754820096  # of the stub's GPUs
BUSY = "utilization 50"


def used(percent: int) -> str:
    return f"memory_used {TOTAL_BYTES * percent // 100}"


def healthy_but(*faults: str) -> list[str]:
    """Return the lines of two GPUs that are half busy and half full but for these faults."""
    faulty = {fault.split(maxsplit=1)[0] for fault in faults}
    healthy = ("gpus 2", BUSY, used(50))
    return [line for line in healthy if line.split(maxsplit=1)[0] not in faulty] + list(faults)


def expect_warning(panel: Panel, words: str) -> Locator:
    """Return the one warning with these words when it is in the panel."""
    warning = panel.warnings.filter(has_text=words)
    expect(warning).to_have_count(1, timeout=20_000)
    return warning


@pytest.mark.parametrize(
    ("fault", "near", "words"),
    [
        (used(97), used(93), "GPU 0 nearly out of memory: 136.2 of 140.4 GiB (97 %, limit 95 %)"),
        ("utilization 0", "utilization 4", "GPU 0 idle for"),
        ("throttle 64", "throttle 64", "GPU 0 slowed by temperature, by hardware"),
    ],
    ids=["memory", "idle", "throttling"],
)
def test_warning_is_raised_stays_and_is_cleared(
    watched: Watched, gpu_lab: Lab, stub: Stub, fault: str, near: str, words: str
) -> None:
    gpu_lab.set_panel_settings(idleMinutes=0.05)
    stub.set(*healthy_but())
    panel = open_panel(watched, gpu_lab)
    expect(panel.warnings).to_have_count(0, timeout=20_000)  # of a test before
    stub.set(*healthy_but(fault))
    warning = expect_warning(panel, words)
    expect(panel.warnings).to_have_count(2)  # both GPUs have the fault
    expect(panel.status).to_contain_text("⚠ 2 warnings")
    expect(panel.notifications).to_have_count(1)  # for each kind
    expect(panel.notifications).to_contain_text(words)
    stub.set(*healthy_but(near))
    panel.page.wait_for_timeout(8_000)  # longer than memory and idleness need to clear
    expect(warning).to_have_count(1)
    stub.set(*healthy_but())
    expect(panel.warnings).to_have_count(0, timeout=20_000)
    expect(panel.notifications).to_have_count(0)
    expect(panel.status).not_to_contain_text("warning")
    assert watched.our_complaints() == []


SHARE_OF_MEMORY = """async () => {
  const { serverSettings } = window.jupyterapp.serviceManager;
  const url = `${serverSettings.baseUrl}workshop-monitor/snapshot?token=${serverSettings.token}`;
  const { host } = await (await fetch(url)).json();
  return (100 * host.data.memory_used_bytes) / host.data.memory_limit_bytes;
}"""


def test_memory_of_the_job_is_warned_of(watched: Watched, gpu_lab: Lab) -> None:
    """No test can fill a machine, so the limit is below what is in use; unit tests have the way back."""
    percent = open_panel(watched, gpu_lab).page.evaluate(SHARE_OF_MEMORY)
    gpu_lab.set_panel_settings(jobMemoryPercent=round(0.8 * percent, 2))
    panel = open_panel(watched, gpu_lab)
    expect_warning(panel, "memory nearly full")
    expect(panel.notifications).to_contain_text("when full, kernels are killed: shut some down")


def test_status_bar_says_it_in_words_and_opens_the_panel(
    watched: Watched, gpu_lab: Lab, stub: Stub, output: Path
) -> None:
    stub.set("gpus 2", "utilization 87", used(50), "throttle 64")
    panel = open_panel(watched, gpu_lab)
    expect(panel.status).to_contain_text("GPU 2 × 87 % · 70.2 / 140 GiB", timeout=STATUS_MS)
    expect(panel.status).to_contain_text("⚠ 2 warnings", timeout=20_000)
    title = re.compile("GPU 1: 87 %, 70.2 of 140 GiB")
    expect(panel.status).to_have_attribute("title", title, timeout=STATUS_MS)
    panel.page.screenshot(path=output / "panel-warnings.png")
    panel.tab.click()
    expect(panel.node).to_be_hidden()
    panel.status.focus()
    panel.page.keyboard.press("Enter")
    expect(panel.node).to_be_visible()
    assert len(watched.streams()) == 1
    assert watched.our_complaints() == []


def test_status_bar_counts_without_the_panel_and_its_charts(
    watched: Watched, gpu_lab: Lab, stub: Stub
) -> None:
    panel = open_panel(watched, gpu_lab)
    panel.tab.click()
    panel.page.wait_for_timeout(2_000)  # Lab saves its layout a second after the last change
    watched.requests.clear()
    stub.set("gpus 2", BUSY, used(99))
    watched.open_lab(f"{gpu_lab.base_url}lab")
    expect(panel.status).to_contain_text("⚠ 2 warnings", timeout=20_000)
    expect(panel.notifications).to_have_count(1)
    expect(panel.node).to_have_count(0)
    assert len(watched.streams()) == 1
    before = [url for url in watched.requests if OURS in url]
    panel.notifications.get_by_role("button", name="Show GPU monitor").click()
    expect(panel.warnings).to_have_count(2)
    assert len(watched.streams()) == 1
    assert len([url for url in watched.requests if OURS in url]) > len(before)


def test_without_a_gpu_the_status_bar_shows_the_job(watched: Watched, start_lab: Callable[..., Lab]) -> None:
    panel = open_panel(watched, start_lab(driver=False))
    expect(panel.status).to_have_text(
        re.compile(r"^No GPU · CPU \d+ % · [\d.]+ / [\d.]+ GiB$"), timeout=STATUS_MS
    )


def test_the_warning_names_the_notebook_to_shut_down(
    watched: Watched, start_lab: Callable[..., Lab], stub: Stub
) -> None:
    panel = open_panel(watched, start_lab())
    kernel, _ = panel.page.evaluate(RUN_IN_A_KERNEL, KERNEL_CODE).split()
    stub.set("gpus 2", BUSY, f"process {kernel}", f"process_bytes {3 * 2**30}")
    expect(panel.gpu(0).busy).to_have_text("50 %")
    panel.gpu(0).more.locator("summary").click()
    expect(panel.gpu(0).more).to_contain_text("my <b>plan.ipynb: 3.0 GiB", timeout=20_000)
    stub.set("gpus 2", BUSY, used(97), f"process {kernel}", f"process_bytes {3 * 2**30}")
    expect_warning(panel, "shut down the kernel of my <b>plan.ipynb: 3.0 GiB.")
