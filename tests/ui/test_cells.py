"""Which notebook cell ran when: a row on the charts' time axis, each cell a button that leads to it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect
from ui.browser import OURS, Watched
from ui.conftest import Stub
from ui.lab import Lab
from ui.panel import CHANGE_THEME, COUNT_DRAWINGS, Panel, open_panel
from ui.test_access import violations
from ui.test_panel import CONNECTION_FAILED, EAGER_BYTES, LOADED_BYTES

# What the first cell that runs may load.
CELLS_BYTES = 4_500
OPEN = """async path => {
  const panel = await window.jupyterapp.commands.execute('docmanager:open', { path });
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""
# Not awaited: a cell may run for as long as the test.
RUN_ALL = "() => void window.jupyterapp.commands.execute('notebook:run-all-cells')"
RUN_ONE = """at => {
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = at;
  void window.jupyterapp.commands.execute('notebook:run-cell').catch(() => null);
}"""
LAB = "command => window.jupyterapp.commands.execute(command)"
CLOSE = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.save();
  panel.close();
}"""
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"
# The notebook in front, the cell that is selected, and whether it has the keyboard and is on the screen.
WHERE = """() => {
  const { context, content } = window.jupyterapp.shell.currentWidget;
  const cell = content.activeCell.node;
  const box = cell.getBoundingClientRect();
  const inside = content.node.getBoundingClientRect();
  return [context.path, content.activeCellIndex, cell.contains(document.activeElement),
    box.bottom > inside.top && box.top < inside.bottom];
}"""
# Every change of the row from now on.
COUNT_CHANGES = """() => {
  window.changes = 0;
  const count = list => { window.changes += list.length; };
  new MutationObserver(count).observe(document.querySelector('.wm-cells'),
    { subtree: true, childList: true, attributes: true, characterData: true });
}"""
FILL = "\n".join(["# a long cell"] * 12)


def write(lab: Lab, name: str, *cells: str) -> None:
    """Write a notebook of these code cells into the Lab's folder."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, lab.home / "work" / name)


def open_notebook(lab: Lab, page: Page, name: str, *cells: str) -> None:
    """Write a notebook, and open it with its kernel."""
    write(lab, name, *cells)
    page.evaluate(OPEN, name)


def row_in(page: Page) -> Locator:
    return page.get_by_role("region", name="Cells")


def segments(page: Page) -> Locator:
    """The cells that are shown, the oldest first."""
    return row_in(page).get_by_role("toolbar").get_by_role("button")


def segment(page: Page, name: str) -> Locator:
    return row_in(page).get_by_role("toolbar").get_by_role("button", name=re.compile(name))


def box(locator: Locator) -> tuple[float, float]:
    """Where it begins and ends, from left to right."""
    found = locator.bounding_box()
    assert found is not None
    return found["x"], found["x"] + found["width"]


def ended(watched: Watched) -> None:
    """No complaint but of a cell that failed: Lab's own code lets its error go to the console."""
    assert watched.our_complaints() == []


def test_a_cell_stands_where_it_ran(watched: Watched, start_lab: Callable[..., Lab]) -> None:
    lab = start_lab()  # whose axis begins with two minutes
    page = open_panel(watched, lab).page
    expect(row_in(page)).to_have_count(0)
    cells = ("import time; time.sleep(3)", "1 + 1", "raise ValueError('no')", "'never reached'")
    open_notebook(lab, page, "stands.ipynb", *cells)
    page.evaluate(RUN_ALL)
    expect(segment(page, r"^stands\.ipynb, cell 1: running$")).to_be_visible()
    first = segment(page, r"^stands\.ipynb, cell 1: 3\.\d s$")
    expect(first).to_be_visible(timeout=15_000)
    # All were asked for at once; the kernel began the second when the first had ended.
    expect(segment(page, r"^stands\.ipynb, cell 2: [01]\.\d s$")).to_be_visible()
    expect(segment(page, r"^stands\.ipynb, cell 3: [01]\.\d s, failed$")).to_be_visible()
    page.wait_for_timeout(1500)
    expect(segments(page)).to_have_count(3)
    (_, first_end), (second_start, _) = box(first), box(segments(page).nth(1))
    assert 0 <= second_start - first_end < 3
    # On the charts' axis: of two minutes, the plot's width.
    plot = box(page.locator(".wm-chart .u-over").first)
    track = box(row_in(page).get_by_role("toolbar"))
    assert track == pytest.approx(plot, abs=1)
    shown = box(first)
    assert (shown[1] - shown[0]) / (plot[1] - plot[0]) == pytest.approx(3 / 120, abs=0.012)
    ended(watched)


def test_says_what_is_pointed_at_or_has_the_focus(watched: Watched, start_lab: Callable[..., Lab]) -> None:
    lab = start_lab()  # whose axis begins with two minutes
    page = open_panel(watched, lab).page
    open_notebook(lab, page, "said.ipynb", "import time; time.sleep(5)", "1/0")
    page.evaluate(RUN_ALL)
    said = row_in(page).locator("p")
    expect(said).to_have_text(re.compile(r"^said\.ipynb, cell 2: \d\.\d s, failed$"), timeout=15_000)
    segment(page, "cell 1").hover()
    expect(said).to_have_text(re.compile(r"^said\.ipynb, cell 1: 5\.\d s$"))
    page.mouse.move(640, 20)
    expect(said).to_have_text(re.compile("cell 2"))
    segment(page, "cell 1").focus()
    expect(said).to_have_text(re.compile("cell 1"))
    ended(watched)


def test_leads_to_the_cell(watched: Watched, gpu_lab: Lab) -> None:
    page = open_panel(watched, gpu_lab).page
    open_notebook(gpu_lab, page, "long.ipynb", *(f"{FILL}\n{at}" for at in range(12)))
    page.evaluate(RUN_ALL)
    expect(segments(page)).to_have_count(12, timeout=20_000)
    open_notebook(gpu_lab, page, "other.ipynb", "import time; time.sleep(1.5)")
    page.evaluate(RUN_ALL)
    expect(segment(page, r"^other\.ipynb, cell 1: 1\.\d s$")).to_be_visible(timeout=20_000)
    # A line for each notebook.
    lines = {segments(page).nth(at).evaluate("node => node.offsetTop") for at in range(13)}
    assert len(lines) == 2
    segment(page, r"^long\.ipynb, cell 12:").click()
    page.wait_for_function(f"({WHERE})().join() === 'long.ipynb,11,true,true'")
    segment(page, r"^long\.ipynb, cell 2:").press("Enter")
    page.wait_for_function(f"({WHERE})().join() === 'long.ipynb,1,true,true'")
    segment(page, r"^other").click()
    page.wait_for_function(f"({WHERE})().join() === 'other.ipynb,0,true,true'")
    # A notebook that was closed since is opened again.
    page.evaluate(CLOSE)
    page.wait_for_function("() => window.jupyterapp.shell.currentWidget.context.path === 'long.ipynb'")
    segment(page, r"^other").click()
    page.wait_for_function(f"({WHERE})().join() === 'other.ipynb,0,true,true'")
    ended(watched)


def test_can_be_used_without_a_mouse(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    page = panel.page
    open_notebook(gpu_lab, page, "keys.ipynb", "1", "2", "3")
    page.evaluate(RUN_ALL)
    expect(segment(page, r"^keys\.ipynb, cell 3: \d\.\d s$")).to_be_visible()
    panel.node.get_by_role("button", name="Record").focus()
    page.keyboard.press("Tab")
    expect(segments(page).nth(2)).to_be_focused()  # the newest: all are one stop
    for key, place in (("ArrowLeft", 1), ("ArrowLeft", 0), ("ArrowLeft", 0), ("ArrowRight", 1), ("End", 2)):
        page.keyboard.press(key)
        expect(segments(page).nth(place)).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_function(f"({WHERE})().join() === 'keys.ipynb,0,true,true'")
    segments(page).first.focus()
    page.keyboard.press("Tab")
    expect(row_in(page).locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    table = row_in(page).get_by_role("table")
    expect(table).to_have_accessible_name("Cells, the last ten minutes")
    expect(table.get_by_role("columnheader")).to_have_text(["Began", "Cell", "Took"])
    expect(table.get_by_role("row")).to_have_count(4)
    newest = table.get_by_role("row").nth(1)
    expect(newest).to_have_text(re.compile(r"^\d\d:\d\d:\d\dkeys\.ipynb, cell 3\d\.\d s$"))
    newest.get_by_role("button").press("Enter")
    page.wait_for_function(f"({WHERE})().join() === 'keys.ipynb,2,true,true'")
    ended(watched)


def test_a_cell_that_is_deleted_stays_and_says_so(watched: Watched, gpu_lab: Lab) -> None:
    page = open_panel(watched, gpu_lab).page
    open_notebook(gpu_lab, page, "deleted.ipynb", "1", "2", "3")
    page.evaluate(RUN_ALL)
    expect(segments(page)).to_have_count(3)
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0 }")
    page.evaluate(LAB, "notebook:delete-cell")
    gone = segment(page, r"^deleted\.ipynb, cell 1: \d\.\d s, since deleted$")
    expect(gone).to_be_visible()
    expect(segment(page, r"^deleted\.ipynb, cell 2: \d\.\d s$")).to_be_visible()  # which was the third
    open_notebook(gpu_lab, page, "another.ipynb", "1")
    gone.press("Enter")
    page.wait_for_function(f"({WHERE})()[0] === 'deleted.ipynb'")
    ended(watched)


def test_a_kernel_that_ends_ends_its_cell(watched: Watched, start_lab: Callable[..., Lab]) -> None:
    lab = start_lab()  # whose axis begins with two minutes
    page = open_panel(watched, lab).page
    sleep = "import time; time.sleep(600)"
    # Not at once, or the kernel is gone before it has said that it began.
    kill = "import os, time; time.sleep(1); os.kill(os.getpid(), 9)"
    open_notebook(lab, page, "ends.ipynb", sleep, kill, sleep)
    page.evaluate(RUN_ONE, 0)
    running = segment(page, r"^ends\.ipynb, cell 1: running$")
    expect(running).to_be_visible()
    page.wait_for_timeout(4000)
    track_start, track_end = box(row_in(page).get_by_role("toolbar"))
    left, right = box(running)
    assert right == pytest.approx(track_end, abs=2)  # it grows to now
    assert (right - left) / (track_end - track_start) > 2 / 120  # the newest sample may be late
    page.evaluate(RESTART)
    expect(segment(page, r"^ends\.ipynb, cell 1: \d\.\d s, failed \(kernel ended\)$")).to_be_visible()
    page.evaluate(RUN_ONE, 1)
    expect(segment(page, r"^ends\.ipynb, cell 2: \d\.\d s, failed \(kernel ended\)$")).to_be_visible(
        timeout=30_000
    )
    page.keyboard.press("Escape")  # Lab says so in a dialog of its own
    page.wait_for_timeout(3000)
    page.evaluate(RUN_ONE, 2)
    expect(segment(page, r"^ends\.ipynb, cell 3: running")).to_be_visible(timeout=30_000)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    expect(segment(page, r"^ends\.ipynb, cell 3: \d\.\d s, failed \(kernel ended\)$")).to_be_visible()
    ended(watched)


def test_a_server_that_was_restarted_ends_what_ran(watched: Watched, start_lab: Callable[..., Lab]) -> None:
    lab = start_lab()
    panel = open_panel(watched, lab)
    open_notebook(lab, panel.page, "server.ipynb", "import time; time.sleep(600)")
    panel.page.evaluate(RUN_ALL)
    expect(segment(panel.page, "cell 1: running")).to_be_visible()
    # As a crash would: a server that ends in order interrupts its kernels first.
    lab.kill()
    expect(panel.node).to_contain_text("Disconnected from the server")
    lab.start()
    expect(panel.node).not_to_contain_text("Disconnected", timeout=30_000)
    ends = segment(panel.page, r"cell 1: [\d:.]+ (s|min), failed \(kernel ended\)$")
    expect(ends).to_be_visible(timeout=60_000)
    assert [each for each in watched.our_complaints() if not CONNECTION_FAILED.search(each.text)] == []


def test_a_cell_that_ran_before_the_panel_was_opened(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    panel.tab.click()
    expect(panel.node).to_be_hidden()
    panel.page.wait_for_timeout(2000)  # Lab saves its layout a second after the last change
    page = watched.open_lab(f"{gpu_lab.base_url}lab")
    page.evaluate("window.jupyterapp.restored.then(() => null)")
    open_notebook(gpu_lab, page, "before.ipynb", "1", "2")
    page.evaluate(RUN_ALL)
    page.wait_for_timeout(2000)
    start = page.evaluate(LOADED_BYTES, OURS)
    assert 0 < start < EAGER_BYTES
    panel.tab.click()
    panel.expect_live()
    expect(segments(page)).to_have_count(2)
    ended(watched)


def test_nothing_is_loaded_before_the_first_cell(watched: Watched, gpu_lab: Lab) -> None:
    page = open_panel(watched, gpu_lab).page
    open_notebook(gpu_lab, page, "first.ipynb", "1")
    page.wait_for_timeout(1500)
    before = page.evaluate(LOADED_BYTES, OURS)
    page.evaluate(RUN_ALL)
    expect(segments(page)).to_have_count(1)
    more = page.evaluate(LOADED_BYTES, OURS) - before
    print(f"{before} bytes with the panel open, {more} more with the first cell")
    assert 0 < more < CELLS_BYTES


def test_draws_nothing_while_hidden(watched: Watched, gpu_lab: Lab) -> None:
    watched.page.add_init_script(COUNT_DRAWINGS)
    panel = open_panel(watched, gpu_lab)
    page = panel.page
    open_notebook(gpu_lab, page, "hidden.ipynb", "1", "import time; time.sleep(2)")
    page.evaluate(RUN_ONE, 0)
    expect(segments(page)).to_have_count(1)
    panel.tab.click()
    expect(panel.node).to_be_hidden()
    page.wait_for_timeout(300)
    page.evaluate(COUNT_CHANGES)
    drawings = panel.drawings()
    page.evaluate(RUN_ONE, 1)
    page.wait_for_timeout(4000)
    assert page.evaluate("document.querySelectorAll('.wm-cell').length") == 1
    assert [page.evaluate("window.changes"), panel.drawings()] == [0, drawings]
    panel.tab.click()
    expect(segment(page, r"^hidden\.ipynb, cell 2: 2\.\d s$")).to_be_visible()
    assert page.evaluate("window.changes") > 0
    ended(watched)


THEMES = ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast")


def test_axe_finds_nothing(watched: Watched, gpu_lab: Lab, stub: Stub, output: Path) -> None:
    """In each theme with its table folded and open: done, failed, deleted and running, in two notebooks."""
    stub.set("gpus 2", "utilization 37", f"memory_used {60 * 2**30}")
    panel: Panel = open_panel(watched, gpu_lab)
    page = panel.page
    first = [f"import time; time.sleep({seconds})" for seconds in (4, 2.5, 0.1, 0.1, 7)]
    open_notebook(gpu_lab, page, "03_one_gpu.ipynb", *first, "time.sleep(2); 1/0")
    page.evaluate(RUN_ALL)
    expect(segment(page, "cell 6: .* failed$")).to_be_visible(timeout=40_000)
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1 }")
    page.evaluate(LAB, "notebook:delete-cell")
    open_notebook(gpu_lab, page, "07_accelerate_on_a_long_name.ipynb", "1/0", "import time; time.sleep(600)")
    page.evaluate(RUN_ONE, 0)
    page.wait_for_timeout(3000)
    page.evaluate(RUN_ONE, 1)
    expect(segment(page, "running")).to_be_visible()
    page.wait_for_timeout(5000)
    for theme in THEMES:
        page.evaluate(CHANGE_THEME, theme)
        page.wait_for_timeout(1500)
        name = theme.split(" ", 1)[1].lower().replace(" ", "-")
        page.screenshot(path=output / f"cells-{name}.png")
        segment(page, "cell 5: .* failed$").focus()
        row_in(page).locator("summary").click()
        expect(row_in(page).get_by_role("row")).to_have_count(9)
        page.screenshot(path=output / f"cells-table-{name}.png")
        found = violations(page)
        assert not found, json.dumps(found, indent=1)
        row_in(page).locator("summary").click()
    ended(watched)
