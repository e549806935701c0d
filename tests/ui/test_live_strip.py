"""The live strip in a real JupyterLab: charts that move, tokens with their energy, a reload, a lost GPU."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, expect
from ui.browser import Watched
from ui.conftest import Stub
from ui.lab import Lab
from ui.panel import CHANGE_THEME

FIRST_SECONDS = 60
SHOW = """from workshop_utils.widgets.live_strip import live_strip

strip = live_strip({arguments})
strip"""
# A decode loop of 50 steps a second, for as long as the test looks.
DECODE = """import threading, time

def decode():
    while True:
        time.sleep(0.02)
        strip.count_tokens(2)

threading.Thread(target=decode, daemon=True).start()"""
# jupyterlab-nvdashboard asks for its routes, which are missing where there is no NVML.
FOREIGN = "nvdashboard"
OPEN = """
async path => {
  const { commands, restored } = window.jupyterapp;
  await restored;
  const panel = await commands.execute('docmanager:open', { path });
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}
"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
COLOURED = """canvas => {
  const { width, height } = canvas;
  const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const columns = new Set();
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at] < 60 && pixels[at + 2] > 200 && pixels[at + 3] > 200) {
      columns.add((at / 4) % width);
    }
  }
  return columns.size;
}"""
SHUT_DOWN = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.shutdown()"
SAVE = "() => window.jupyterapp.commands.execute('docmanager:save')"


def open_strip(lab: Lab, page: Page, name: str, *cells: str) -> Locator:
    """Run a notebook of these cells, and return the strip."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, lab.home / "work" / name)
    page.wait_for_function("window.jupyterapp !== undefined")
    page.evaluate(OPEN, name)
    page.evaluate(RUN_ALL)
    strip = strip_in(page)
    expect(strip.get_by_role("img").first).to_be_visible(timeout=FIRST_SECONDS * 1000)
    return strip


def strip_in(page: Page) -> Locator:
    return page.locator("section.workshop-strip")


def chart(strip: Locator, title: str) -> Locator:
    return strip.get_by_role("img", name=re.compile(f"^{title}, last 5 minutes"))


def picture(strip: Locator, title: str) -> str:
    found: str = chart(strip, title).locator("canvas").evaluate("canvas => canvas.toDataURL()")
    return found


def coloured_columns(strip: Locator) -> int:
    """Return how many columns of the first chart's canvas have a pixel of the first GPU's colour."""
    found: int = chart(strip, "GPU utilisation").locator("canvas").evaluate(COLOURED)
    return found


def complaints(watched: Watched) -> list[object]:
    return [each for each in watched.complaints if FOREIGN not in each.source + each.text]


def test_a_strip_moves_counts_tokens_and_survives_a_reload(
    gpu_lab: Lab, watched: Watched, output: Path
) -> None:
    page = watched.open_lab(gpu_lab.url)
    strip = open_strip(gpu_lab, page, "decode.ipynb", SHOW.format(arguments=""), DECODE)
    for title, value in (
        ("GPU utilisation", r"GPU 0 \d+ %, GPU 1 \d+ %"),
        ("GPU memory used", r"GPU 0 \d+(\.\d)? GiB, GPU 1 \d+(\.\d)? GiB"),
        ("GPU power", r"GPU 0 \d+ W, GPU 1 \d+ W"),
    ):
        expect(chart(strip, title)).to_have_attribute("aria-label", re.compile(rf"Now: {value}\.$"))
    memory = strip.locator("figure").nth(1)
    first, drawn = memory.locator("ul").text_content(), picture(strip, "GPU memory used")
    assert first
    expect(memory.locator("ul")).not_to_have_text(first)
    page.wait_for_timeout(3000)
    assert picture(strip, "GPU memory used") != drawn
    expect(strip.locator(".workshop-strip-decode")).to_have_text(
        re.compile(r"^Decode: \d+(\.\d)? tokens/s, [\d.]+ J/token \(integrated power\)$"), timeout=15000
    )

    page.wait_for_timeout(8000)
    for theme, name in (("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")):
        page.evaluate(CHANGE_THEME, theme)
        page.wait_for_timeout(1500)
        page.screenshot(path=output / f"live-strip-{name}.png")

    before = coloured_columns(strip)
    page.evaluate(SAVE)
    page.reload()
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.wait_for_function("window.jupyterapp !== undefined")
    page.evaluate(OPEN, "decode.ipynb")
    again = strip_in(page)
    expect(chart(again, "GPU utilisation")).to_be_visible(timeout=30000)
    expect(again.locator(".workshop-strip-decode")).to_have_text(re.compile(r"tokens/s"))
    # The past is there at once: soon the line is as long as before the reload.
    until = time.monotonic() + 5
    while coloured_columns(again) < before and time.monotonic() < until:
        page.wait_for_timeout(100)
    assert coloured_columns(again) >= before
    page.evaluate(CHANGE_THEME, "JupyterLab Light")
    assert complaints(watched) == []


def test_a_lost_gpu_is_named_and_a_second_run_has_one_strip(
    gpu_lab: Lab, stub: Stub, watched: Watched, output: Path
) -> None:
    page = watched.open_lab(gpu_lab.url)
    strip = open_strip(gpu_lab, page, "lost.ipynb", SHOW.format(arguments="hz=2"))
    page.wait_for_timeout(3000)
    line = coloured_columns(strip)
    stub.set("gpus 2", "lost 1")
    expect(strip.locator(".workshop-strip-notes")).to_contain_text("has fallen off the bus", timeout=15000)
    expect(chart(strip, "GPU power")).to_have_attribute("aria-label", re.compile(r"GPU 1 not reported"))
    assert coloured_columns(strip) >= line  # the past is still drawn
    page.screenshot(path=output / "live-strip-lost.png")
    stub.set("gpus 2")
    expect(strip.locator(".workshop-strip-notes")).to_be_empty(timeout=15000)

    page.evaluate(RUN_ALL)
    page.wait_for_timeout(3000)
    assert strip.count() == 1
    value = strip.locator("figure").nth(1).locator("ul")
    before = value.text_content()
    assert before
    expect(value).not_to_have_text(before)
    assert complaints(watched) == []


def test_without_a_gpu_the_job_is_shown_and_no_energy(
    start_lab: Callable[..., Lab], watched: Watched, output: Path
) -> None:
    lab = start_lab(driver=False)
    page = watched.open_lab(lab.url)
    strip = open_strip(lab, page, "no_gpu.ipynb", SHOW.format(arguments=""), DECODE)
    expect(chart(strip, "CPU utilisation")).to_have_attribute(
        "aria-label", re.compile(r"Now: This job \d+ %\.$")
    )
    expect(chart(strip, "Main memory used")).to_have_attribute(
        "aria-label", re.compile(r"This job \d+(\.\d)? GiB")
    )
    assert strip.get_by_role("img").count() == 2
    expect(strip.locator(".workshop-strip-notes")).to_contain_text("no NVIDIA driver")
    expect(strip.locator(".workshop-strip-decode")).to_have_text(
        re.compile(r"^Decode: \d+(\.\d)? tokens/s, no energy counter$"), timeout=15000
    )
    page.screenshot(path=output / "live-strip-no-gpu.png")

    page.evaluate(SHUT_DOWN)
    expect(strip.get_by_role("status")).to_contain_text("No figures since", timeout=20000)
    assert complaints(watched) == []
