"""The panel, its status-bar item and its warnings for everybody: axe's rules in each theme, and a table."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from ui.browser import Watched
from ui.conftest import Stub
from ui.lab import Lab
from ui.panel import CHANGE_THEME, open_panel

ROOT = Path(__file__).resolve().parents[2]
# A development dependency of the extension: `make test-panel` installs it.
AXE = ROOT / "jupyter_extension" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
OURS = [".wm-sidebar", ".wm-status-item"]


def violations(page: Page, *more: str) -> list[dict[str, Any]]:
    """Return what axe finds in our own elements, and in more: the rule, and each element with the reason."""
    if not AXE.is_file():
        pytest.skip("axe-core is missing: `make test-panel` installs what the panel is checked with.")
    page.evaluate(AXE.read_text(encoding="utf-8") + ";null")
    # Lab's body has no height, and axe takes its hidden overflow, which is the window's, for its own.
    page.add_style_tag(content="body { height: 100vh }")
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations", "passes"]}
    result = page.evaluate(
        "([include, options]) => axe.run({ include }, options)",
        [[[each] for each in (*OURS, *more)], options],
    )
    assert "color-contrast" in {each["id"] for each in result["violations"] + result["passes"]}
    return [
        {"rule": each["id"], "nodes": [[node["html"], node["failureSummary"]] for node in each["nodes"]]}
        for each in result["violations"]
    ]


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_axe_finds_nothing(watched: Watched, gpu_lab: Lab, stub: Stub, output: Path, theme: str) -> None:
    """With everything open: details, tables, warnings, a lost GPU, a figure that is not reported."""
    faults = ("lost 1", "throttle 64", "unsupported utilization", "process 4321")
    stub.set("gpus 2", "memory_used 149000000000", *faults)
    panel = open_panel(watched, gpu_lab)
    panel.page.evaluate(CHANGE_THEME, theme)
    panel.page.set_viewport_size({"width": 1280, "height": 1800})  # axe looks at what is on the screen
    for card in (panel.gpu(0), panel.job):
        card.more.locator("summary").click()
        card.table.locator("summary").click()
    expect(panel.warnings).to_have_count(2, timeout=20_000)
    panel.page.wait_for_timeout(1_000)
    panel.page.screenshot(path=output / f"access-{theme.split(' ', 1)[1].lower().replace(' ', '-')}.png")
    found = violations(panel.page)
    assert not found, json.dumps(found, indent=1)


def test_axe_can_fail(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    panel.page.add_style_tag(content=".wm-value { color: #ddd !important; background: #fff }")
    assert "color-contrast" in [each["rule"] for each in violations(panel.page)]


def test_chart_can_be_read_as_a_table(watched: Watched, gpu_lab: Lab, stub: Stub) -> None:
    stub.set("gpus 2", "utilization 37", "memory_used 75377410048")
    panel = open_panel(watched, gpu_lab)
    expect(panel.gpu(0).busy).to_have_text("37 %")
    table = panel.gpu(0).table
    table.locator("summary").focus()
    panel.page.keyboard.press("Enter")
    expect(table.get_by_role("table")).to_have_accessible_name("GPU 0, the last ten minutes")
    columns = table.get_by_role("columnheader")
    expect(columns).to_have_text(["Minute", "Utilisation, mean", "Memory, highest"])
    expect(table.get_by_role("rowheader").first).to_have_text(re.compile(r"^\d\d:\d\d$"))
    expect(table.get_by_role("row").nth(1)).to_contain_text("%")
