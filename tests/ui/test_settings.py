"""The settings of the panel in Lab's settings editor, and what the panel does by them."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, expect
from ui.browser import Watched
from ui.conftest import Stub
from ui.lab import Lab
from ui.panel import Panel, open_panel

OPEN_EDITOR = "window.jupyterapp.commands.execute('settingeditor:open', { query: 'GPU Monitor' })"


def field(panel: Panel, name: str) -> Locator:
    """Return the control of one setting in Lab's editor."""
    return panel.page.locator(f'[id="jp-SettingsEditor-workshop-monitor:panel_{name}"]')


def test_settings_are_taken_at_once(watched: Watched, gpu_lab: Lab, stub: Stub, output: Path) -> None:
    stub.set("gpus 2", "utilization 37", f"memory_used {3 * 2**30}")
    panel = open_panel(watched, gpu_lab)
    expect(panel.gpu(0).memory).to_have_text("3.0 of 140 GiB")
    panel.page.evaluate(OPEN_EDITOR)
    expect(field(panel, "rate")).to_have_value("1")
    panel.page.screenshot(path=output / "panel-settings.png")
    field(panel, "unit").select_option(label="GB")
    expect(panel.gpu(0).memory).to_have_text("3.2 of 151 GB")
    expect(panel.status).to_contain_text("3.2 / 151 GB")
    field(panel, "gpuCharts").uncheck()
    expect(panel.gpu(0).chart).to_be_hidden()
    expect(panel.job.chart).to_be_visible()
    field(panel, "rate").fill("5")
    with panel.page.expect_websocket(lambda socket: "hz=5&unit=GB" in socket.url):
        panel.page.keyboard.press("Tab")
    field(panel, "statusBar").uncheck()
    expect(panel.status).to_be_hidden()
    expect(panel.gpu(0).busy).to_have_text("37 %")  # the panel still looks
    assert watched.our_complaints() == []


def test_a_value_that_cannot_be_used_falls_back_with_a_sentence(
    watched: Watched, start_lab: Callable[..., Lab], output: Path
) -> None:
    lab = start_lab()
    lab.set_panel_settings(rate=500, unit="GB")
    panel = open_panel(watched, lab)
    expect(panel.node).to_contain_text("Setting rate is 500, not a number from 0.2 to 10; 1 is used.")
    expect(panel.node).to_contain_text("Correct it in Settings → Settings Editor → GPU Monitor.")
    assert "hz=1&unit=GB&" in watched.streams()[-1]  # and what can be used is
    panel.page.screenshot(path=output / "panel-bad-setting.png")


def test_with_the_status_bar_off_nobody_looks_until_the_panel_is_opened(
    watched: Watched, gpu_lab: Lab
) -> None:
    gpu_lab.set_panel_settings(statusBar=False)
    panel = open_panel(watched, gpu_lab)
    panel.tab.click()
    panel.page.wait_for_timeout(2_000)  # Lab saves its layout a second after the last change
    watched.requests.clear()
    watched.open_lab(f"{gpu_lab.base_url}lab")
    expect(panel.tab).to_be_visible()
    panel.page.wait_for_timeout(2_000)
    expect(panel.node).to_have_count(0)
    assert watched.streams() == []


def test_warnings_that_are_off_are_silent(watched: Watched, gpu_lab: Lab, stub: Stub) -> None:
    gpu_lab.set_panel_settings(warnGpuMemory=False, notifications=False)
    stub.set("gpus 2", "utilization 50", "memory_used 150000000000", "throttle 64")
    panel = open_panel(watched, gpu_lab)
    expect(panel.warnings).to_have_count(2, timeout=20_000)
    expect(panel.warnings).to_have_text([re.compile("slowed by temperature")] * 2)
    expect(panel.notifications).to_have_count(0)
