"""The device-map explorer in a real JupyterLab: a model is chosen, a slider moved, and the map follows."""

from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, expect
from ui.browser import Watched
from ui.lab import Lab

NOTEBOOK = "explorer.ipynb"
# A notebook's first output includes starting a kernel and importing transformers.
FIRST_SECONDS = 120
CODE = """from workshop_utils.widgets.device_map_explorer import device_map_explorer

device_map_explorer(model="smollm2-135m", devices="2 x A40", tokens=2048)"""
# jupyterlab-nvdashboard asks for its routes, which are missing where there is no NVML.
FOREIGN = "nvdashboard"
RUN = """
async path => {
  const { commands } = window.jupyterapp;
  const panel = await commands.execute('docmanager:open', { path });
  await panel.context.ready;
  await panel.sessionContext.ready;
  await commands.execute('notebook:run-all-cells');
}
"""


def open_explorer(lab: Lab, page: Page) -> Locator:
    """Run a notebook of one cell, and return the explorer when its first map is there."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, lab.home / "work" / NOTEBOOK)
    page.wait_for_function("window.jupyterapp?.commands.hasCommand('notebook:run-all-cells')")
    page.evaluate(RUN, NOTEBOOK)
    # Nothing but the explorer: what libraries say while they load is no reader's business.
    expect(page.locator(".jp-OutputArea-output")).to_have_count(1, timeout=FIRST_SECONDS * 1000)
    explorer = page.locator(".jp-OutputArea-output")
    expect(explorer.locator("pre.map")).to_contain_text("model.layers", timeout=FIRST_SECONDS * 1000)
    return explorer


def test_a_model_and_a_slider_change_the_map(gpu_lab: Lab, watched: Watched, output: Path) -> None:
    page = watched.open_lab(gpu_lab.url)
    explorer = open_explorer(gpu_lab, page)
    text = explorer.locator("pre.map")
    small = text.text_content()
    assert small

    page.get_by_label("Model", exact=True).select_option(label="llama-3.1-8b")
    expect(text).not_to_have_text(small)
    expect(explorer).to_contain_text("llama-3.1-8b")
    balanced = text.text_content()
    assert balanced

    limit = explorer.locator(".widget-slider").filter(has_text="GPU 0 (GiB)")
    handle = limit.locator(".noUi-handle")
    handle.focus()
    handle.press("Home")  # nothing may lie on GPU 0
    expect(text).not_to_have_text(balanced)
    page.screenshot(path=output / "device-map-explorer.png")

    explorer.get_by_role("button", name="All limits as at first").click()
    expect(text).to_have_text(balanced)
    assert [each for each in watched.complaints if FOREIGN not in each.source + each.text] == []
