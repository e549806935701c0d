"""What the README promises: its command opens Lab, notebook 01 runs through, calculator and panel move."""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from ui.browser import Watched
from ui.lab import isolated_environment
from ui.panel import Panel

from workshop_utils.storage import cache_folder

ROOT = Path(__file__).parents[2]
NOTEBOOK = "01_will_it_fit.ipynb"
START_SECONDS, RUN_SECONDS, STOP_SECONDS = 240, 180, 20
# Jupyter opens the browser on a small page that holds address and key; this "browser" keeps the page.
BROWSER = '#!/bin/sh\ncp "${1#file://}" "$OPENED_PAGE.new" && mv "$OPENED_PAGE.new" "$OPENED_PAGE"\n'
# Console errors that are not ours: where they come from, and why they are there.
FOREIGN = {
    "nvdashboard": "jupyterlab-nvdashboard asks for its routes, which are missing where there is no NVML",
}
RUN_ALL = """
async path => {
  const { commands } = window.jupyterapp;
  const panel = await commands.execute('docmanager:open', { path });
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await commands.execute('notebook:run-all-cells');
  await panel.sessionContext.session.kernel.requestKernelInfo();
  return panel.content.widgets.map(cell => cell.model.toJSON()).filter(cell => cell.cell_type === 'code');
}
"""
SHOW_CELL = """
index => {
  const { content } = window.jupyterapp.shell.currentWidget;
  content.activeCellIndex = index;
  return content.scrollToItem(index, 'start');
}
"""


@dataclass
class Workshop:
    """The running command and the address that it told the browser."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path


def readme_command() -> list[str]:
    """Return the last line of the README's first block of commands."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return shlex.split(blocks[0].strip().splitlines()[-1])


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """Type the README's command in a fresh HOME, as a reader would, and catch what it opens."""
    opened, browser, log = tmp_path / "opened.html", tmp_path / "browser", tmp_path / "make.log"
    browser.write_text(BROWSER, encoding="utf-8")
    browser.chmod(0o755)
    environment = isolated_environment(tmp_path / "home") | {
        "BROWSER": str(browser),
        "OPENED_PAGE": str(opened),
        "WORKSHOP_CACHE": str(cache_folder()),  # the model is fetched once, not for every test
    }
    for name in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "ARGS"):  # of the `make test` that runs this
        environment.pop(name, None)
    config = tmp_path / "home" / "config" / "jupyter_lab_config.json"
    config.write_text('{"LabApp": {"expose_app_in_browser": true}}', encoding="utf-8")
    with log.open("wb") as output:
        process = subprocess.Popen(
            readme_command(), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield Workshop(process, wait_for_address(opened, process, log), log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(autouse=True)
def notebooks_as_they_were() -> Iterator[None]:
    """Put the checkout's notebooks back: Lab opens them in place and saves them by itself."""
    before = {file: file.read_bytes() for file in (ROOT / "notebooks").glob("*.ipynb")}
    yield
    for file, content in before.items():
        file.write_bytes(content)


def wait_for_address(opened: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if opened.exists():
            address = re.search(r'href="([^"]+)"', opened.read_text(encoding="utf-8"))
            assert address, opened.read_text(encoding="utf-8")
            return address.group(1)
        time.sleep(0.1)
    raise AssertionError(f"nothing was opened; the command said:\n{log.read_text(encoding='utf-8')}")


def errors_of(cells: list[dict[str, Any]]) -> list[str]:
    return [
        f"{output['ename']}: {output['evalue']}"
        for cell in cells
        for output in cell["outputs"]
        if output["output_type"] == "error"
    ]


def move_calculator(page: Page) -> tuple[str, str]:
    """Press an arrow key on the calculator's slider of tokens; return the total before and after."""
    total = page.locator(".workshop-calculator-total").first
    expect(total).to_be_visible()
    before = total.inner_text()
    handle = page.locator(".jp-OutputArea .noUi-handle").first  # of the tokens; the batch size comes second
    handle.focus()
    handle.press("ArrowRight")
    expect(total).not_to_have_text(before)
    return before, total.inner_text()


def type_tokens(page: Page, tokens: int) -> None:
    """Type a number that lies between two steps of the slider; it must stay, and be what is calculated."""
    field = page.get_by_label("Tokens", exact=True)
    field.fill(str(tokens))
    field.press("Enter")
    expect(page.locator(".workshop-calculator").filter(has_text=f"{tokens:,} tokens").first).to_be_visible()
    page.wait_for_timeout(500)  # an echo of the slider would come now
    expect(field).to_have_value(str(tokens))


def test_the_readme_command_opens_a_workshop_that_works(
    workshop: Workshop, watched: Watched, output: Path
) -> None:
    page = watched.open_lab(workshop.url)
    panel = Panel(page)
    panel.expect_live()  # it opened by itself
    expect(page.get_by_role("heading", name="00 Start here")).to_be_visible(timeout=30_000)
    expect(page.locator(".jp-NotebookPanel-toolbar")).to_contain_text("Python 3", timeout=30_000)
    page.screenshot(path=output / "readme-start.png")
    before = panel.job.picture()

    page.set_default_timeout(RUN_SECONDS * 1000)
    cells = page.evaluate(RUN_ALL, NOTEBOOK)
    assert cells
    assert errors_of(cells) == []
    assert all(cell["execution_count"] for cell in cells)

    page.set_default_timeout(30_000)
    calculator = page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets"
        ".findIndex(cell => cell.model.sharedModel.source.includes('Calculator('))"
    )
    page.evaluate(SHOW_CELL, calculator)
    small, large = move_calculator(page)
    assert small != large
    page.screenshot(path=output / "readme-lab.png")
    type_tokens(page, 100_000)

    assert panel.job.picture() != before
    foreign = [
        each for each in watched.complaints if not any(name in each.source + each.text for name in FOREIGN)
    ]
    assert foreign == []
    assert watched.our_complaints() == []

    os.killpg(workshop.process.pid, signal.SIGINT)
    workshop.process.wait(STOP_SECONDS)
    with pytest.raises(ProcessLookupError):
        os.killpg(workshop.process.pid, 0)  # nothing of it is left
