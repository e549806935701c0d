"""Calculator, field for a log and free GPUs for everybody: axe's rules in each theme, and the keyboard."""

import json
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect
from ui.browser import Watched
from ui.lab import Lab
from ui.panel import CHANGE_THEME
from ui.test_access import violations
from ui.test_device_map_explorer import RUN

NOTEBOOK = "calculator.ipynb"
FIRST_SECONDS = 120
CODE = """from workshop_utils.widgets.calculator import Calculator
from workshop_utils.widgets.free_gpus import FreeGpus
from workshop_utils.widgets.read_log import ReadLog
from IPython.display import display

display(Calculator(model="gemma-3-27b", tokens=32_768), ReadLog("CUDA out of memory"), FreeGpus())"""
MIXTURE = """from workshop_utils.widgets.calculator import Calculator

Calculator(model="mixtral-8x7b", tokens=8192, gpu="A100-80GB")"""
OUTPUT = ".jp-OutputArea-output"
MISSED = "all => all.filter(each => !window.reached.has(each)).map(each => each.outerHTML)"


def open_calculator(lab: Lab, page: Page, code: str = CODE, outputs: int = 3) -> None:
    """Run a notebook of one cell, and return when its widgets are there."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, lab.home / "work" / NOTEBOOK)
    page.wait_for_function("window.jupyterapp?.commands.hasCommand('notebook:run-all-cells')")
    page.evaluate(RUN, NOTEBOOK)
    expect(page.locator(OUTPUT)).to_have_count(outputs, timeout=FIRST_SECONDS * 1000)
    expect(page.locator(OUTPUT).first).to_contain_text("A100-80GB")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_axe_finds_nothing(watched: Watched, gpu_lab: Lab, output: Path, theme: str) -> None:
    page = watched.open_lab(gpu_lab.url)
    page.set_viewport_size({"width": 1500, "height": 2600})  # axe looks at what is on the screen
    open_calculator(gpu_lab, page)
    page.evaluate(CHANGE_THEME, theme)
    page.locator(f"{OUTPUT} details summary").first.click()
    page.wait_for_timeout(500)
    page.screenshot(path=output / f"calculator-{theme.split(' ', 1)[1].lower().replace(' ', '-')}.png")
    found = violations(page, OUTPUT)
    assert not found, json.dumps(found, indent=1)


def test_every_control_is_reached_with_the_tab_key(watched: Watched, gpu_lab: Lab) -> None:
    page = watched.open_lab(gpu_lab.url)
    page.set_viewport_size({"width": 1500, "height": 2600})
    open_calculator(gpu_lab, page)
    calculator = page.locator(OUTPUT).first
    wanted = calculator.locator("input:visible, select:visible, summary:visible, .noUi-handle:visible")
    count = wanted.count()
    assert count > 10
    wanted.first.focus()
    page.evaluate("window.reached = new Set()")
    for _ in range(count + 20):
        page.evaluate("window.reached.add(document.activeElement)")
        page.keyboard.press("Tab")
    missed = wanted.evaluate_all(
        "all => all.filter(each => !window.reached.has(each)).map(each => each.outerHTML)"
    )
    assert missed == []


def test_whole_experts_are_a_box_that_comes_and_is_checked_with_the_keyboard(
    watched: Watched, gpu_lab: Lab, output: Path
) -> None:
    page = watched.open_lab(gpu_lab.url)
    page.set_viewport_size({"width": 1500, "height": 1800})
    open_calculator(gpu_lab, page, MIXTURE, outputs=1)
    calculator = page.locator(OUTPUT).first
    box = calculator.get_by_label("Whole experts on each GPU (expert parallel)")
    expect(box).to_be_hidden()
    calculator.get_by_label("Engine").select_option(label="vllm")
    expect(calculator).to_contain_text("vllm with flash_attention, one GPU")
    expect(box).to_be_hidden()
    calculator.get_by_label("DP size").fill("3")
    page.keyboard.press("Enter")
    expect(box).to_be_visible()
    calculator.get_by_label("TP size").focus()
    page.keyboard.press("Tab")
    expect(box).to_be_focused()
    page.keyboard.press("Space")
    expect(calculator).to_contain_text("What each GPU holds")
    expect(calculator.get_by_role("row").filter(has_text="GPUs 0, 1")).to_be_visible()
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate(CHANGE_THEME, theme)
        page.wait_for_timeout(500)
        page.screenshot(path=output / f"calculator-experts-{theme.split(' ', 1)[1].lower()}.png")
        found = violations(page, OUTPUT)
        assert not found, json.dumps(found, indent=1)
    calculator.get_by_label("Engine").select_option(label="transformers")
    expect(box).to_be_hidden()
