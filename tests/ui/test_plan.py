"""A plan of ``workshop estimate`` or ``workshop plan`` stands beside what each GPU really holds."""

import os
import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect
from ui.browser import Watched
from ui.conftest import Stub
from ui.lab import Lab, isolated_environment
from ui.panel import CHANGE_THEME, open_panel

ESTIMATE = ("estimate", "llama-3.1-70b", "--tokens", "8192", "--tp", "2", "--gpu", "h200", "--to-panel")
PLAN = (
    "plan", "llama-3.1-70b", "--tokens", "8192", "--dtype", "bf16", "--gpu", "h200", "--site", "uva",
    "--no-queue", "--to-panel",
)  # fmt: skip


def plan_beside(lab: Lab, words: tuple[str, ...]) -> None:
    """Run the command as a terminal of this Lab would."""
    subprocess.run(
        [sys.executable, "-m", "workshop_utils", *words],
        env=os.environ | isolated_environment(lab.home),
        check=True,
        capture_output=True,
        timeout=60,
    )


def test_a_plan_is_drawn_with_its_gap_term_by_term(
    watched: Watched, gpu_lab: Lab, stub: Stub, output: Path
) -> None:
    stub.set("gpus 3", "utilization 37", f"memory_used {60 * 2**30}")
    panel = open_panel(watched, gpu_lab)
    card = panel.gpu(0)
    plan = card.node.locator(".wm-plan")
    expect(plan).to_be_hidden()
    expect(card.memory).to_have_text("60.0 of 140 GiB")
    plan_beside(gpu_lab, ESTIMATE)
    expect(plan).to_be_visible(timeout=10_000)
    expect(plan).to_contain_text("Planned 70.1 GiB")  # half of 131 GiB of weights, and what the text needs
    expect(plan).to_contain_text("not in use yet: weights")
    expect(plan).to_contain_text("KV cache 1.3 GiB")
    expect(plan.locator(".wm-plan-part")).not_to_have_count(0)
    expect(panel.gpu(2).node.locator(".wm-plan")).to_be_hidden()  # two ranks were planned
    without = card.picture()
    for theme in ("Light", "Dark"):
        panel.page.evaluate(CHANGE_THEME, f"JupyterLab {theme}")
        panel.page.wait_for_timeout(1500)
        panel.page.screenshot(path=output / f"panel-plan-{theme.lower()}.png")
    stub.set("gpus 3", "utilization 37", f"memory_used {100 * 2**30}")
    expect(plan).to_contain_text("more than planned")
    assert card.picture() != without
    plan_beside(gpu_lab, PLAN)
    expect(plan).to_have_attribute("title", re.compile("^llama-3.1-70b, 1 × H200, bfloat16"), timeout=10_000)
    expect(panel.gpu(1).node.locator(".wm-plan")).to_be_hidden()  # one GPU was planned
    assert watched.our_complaints() == []
