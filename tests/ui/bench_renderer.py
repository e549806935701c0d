"""What the panel costs the browser: CPU seconds a minute of Chromium's renderers, by ``make bench-browser``.

Needs ``cc`` and Chromium, no GPU. One JupyterLab over a stub of eight GPUs is opened in a browser of its own
for each state of the panel in turn, ``--repeats`` times, and left alone for ``--seconds``:

- without: Lab with the panel's extension disabled;
- open: the panel as on a first visit, at one sample a second;
- closed: its tab in the side bar is folded in; the status bar goes on;
- page hidden: the panel is open, and another tab of the browser in front of it;
- hidden without: the same of Lab without the panel.

CPU time is user and system of all renderers from ``/proc``. Of it, Chromium counts scripts, style and layout
of the main thread; other tasks are what is left of that thread, painting above all. Nothing counts the parts
of a hidden page, which nobody may look into. There is no graphics card: the pixels are drawn by the
renderer's CPU too. Charts cost what they hold, so the server looks for ten minutes first. The medians are
printed; ``--out`` keeps all.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
from playwright.sync_api import Browser, CDPSession, Page, Playwright, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from nvml_stub.build import build_stub, set_faults, stub_environment
from ui.browser import CHROMIUM, FLAGS, Watched, launch, watched_page
from ui.lab import NEWS, Lab, free_port
from ui.panel import COUNT_DRAWINGS, Panel, open_panel

WITHOUT, OPEN, CLOSED, HIDDEN, HIDDEN_WITHOUT = "without", "open", "closed", "page hidden", "hidden without"
STATES = (WITHOUT, OPEN, CLOSED, HIDDEN, HIDDEN_WITHOUT)
GPUS = 8
# A page of 1280 × 800, as in the browser tests: the tabs above it take 143.
SCREEN = ("--window-size=1280,943", "--force-device-scale-factor=2")
CPU = "CPU s/min of the renderers"
# Chromium's counts of seconds, by what they are called here.
PARTS = {"scripts": "ScriptDuration", "style": "RecalcStyleDuration", "layout": "LayoutDuration"}
TASKS = "TaskDuration"
SAY_WHEN_HIDDEN = """document.addEventListener('visibilitychange', () => {
  document.title = document.visibilityState;
})"""
START_SECONDS = 30
# The panel waits for so long before it asks for less.
ABSENT_SECONDS = 60
# Figure of one run by name.
Figures = dict[str, float]


def disable_panel(lab: Lab, disabled: bool) -> None:
    """Lab reads this whenever a page is opened."""
    file = lab.home / "config" / "labconfig" / "page_config.json"
    file.write_text(json.dumps({"disabledExtensions": {NEWS: True, "workshop-monitor": disabled}}))


@contextmanager
def running_chromium() -> Iterator[str]:
    """Start a browser with one empty tab, and yield the address that it is steered by.

    Not by Playwright, from whose browsers no tab is ever hidden.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        port = free_port()
        options = (f"--remote-debugging-port={port}", f"--user-data-dir={profile}", *SCREEN, "about:blank")
        with subprocess.Popen([CHROMIUM, *FLAGS, *options], stderr=subprocess.DEVNULL) as process:
            try:
                address = f"http://127.0.0.1:{port}"
                wait_until(lambda: bool(titles(address)))
                yield address
            finally:
                process.terminate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Chromium did not do what it should in {START_SECONDS} s")
        time.sleep(0.1)


def titles(address: str) -> list[str]:
    """Return the titles of the browser's tabs, none while it starts."""
    try:
        with urlopen(f"{address}/json/list", timeout=5) as answer:
            return [target["title"] for target in json.load(answer) if target["type"] == "page"]
    except OSError:
        return []


def hide(address: str, browser: Browser, page: Page) -> None:
    """Open a tab before this one. Playwright has to let go, since it keeps what it holds visible."""
    page.evaluate(SAY_WHEN_HIDDEN)
    browser.close()
    urlopen(Request(f"{address}/json/new?about:blank", method="PUT"), timeout=5).close()
    wait_until(lambda: "hidden" in titles(address))


def bring(watched: Watched, lab: Lab, state: str) -> None:
    """Open Lab with the panel in this state, or open where the page is to be hidden."""
    without = state in (WITHOUT, HIDDEN_WITHOUT)
    disable_panel(lab, without)
    if without:
        page = watched.open_lab(lab.url)
        page.evaluate("window.jupyterapp.restored.then(() => null)")
        expect(Panel(page).tab).to_have_count(0)
        return
    panel = open_panel(watched, lab)
    panel.expect_gpus(GPUS)
    if state == CLOSED:
        panel.tab.click()
        expect(panel.node).to_be_hidden()


def renderer_seconds() -> dict[int, float]:
    """Return the CPU seconds of each renderer that this program has started, by process."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        if "--type=renderer" in process.cmdline():
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def counts(session: CDPSession) -> Figures:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return {metric["name"]: metric["value"] for metric in metrics}


def measure_cpu(seconds: float) -> Figures:
    """Return what the renderers take a minute while nobody touches anything."""
    before = renderer_seconds()
    time.sleep(seconds)
    used = {pid: value - before.get(pid, 0.0) for pid, value in renderer_seconds().items()}
    return {CPU: sum(used.values()) * 60 / seconds}


def measure(page: Page, seconds: float) -> Figures:
    """Return that and the parts of it."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before, drawings = counts(session), Panel(page).drawings()
    cpu = measure_cpu(seconds)
    spent = {name: value - before[name] for name, value in counts(session).items()}
    parts = {name: spent[count] for name, count in PARTS.items()}
    parts["other tasks"] = spent[TASKS] - sum(parts.values())
    parts["drawings of charts"] = Panel(page).drawings() - drawings
    return cpu | {name: value * 60 / seconds for name, value in parts.items()}


def run(playwright: Playwright, lab: Lab, state: str, settle: float, seconds: float) -> Figures:
    with running_chromium() as address:
        browser = playwright.chromium.connect_over_cdp(address)
        page = browser.contexts[0].pages[0]
        page.add_init_script(COUNT_DRAWINGS)
        bring(Watched(page), lab, state)
        hidden = state in (HIDDEN, HIDDEN_WITHOUT)
        if hidden:
            hide(address, browser, page)
        time.sleep(settle + (ABSENT_SECONDS if hidden else 0))
        return measure_cpu(seconds) if hidden else measure(page, seconds)


def fill_history(playwright: Playwright, lab: Lab, seconds: float) -> None:
    """Return when the charts of a page that is opened show so long a past; the server goes on looking."""
    lab.set_panel_settings(watchAlone=True)
    with launch(playwright) as browser, watched_page(browser) as watched:
        open_panel(watched, lab)
    time.sleep(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement")
    parser.add_argument("--settle", type=float, default=15, help="seconds before it")
    parser.add_argument("--history", type=float, default=600, help="seconds in the charts from the start")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--states", nargs="+", choices=STATES, default=STATES, help="default: all")
    parser.add_argument("--out", type=Path, help="a JSON file for every repeat")
    arguments = parser.parse_args()
    runs: dict[str, list[Figures]] = {state: [] for state in arguments.states}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        set_faults(folder / "control", f"gpus {GPUS}")
        with Lab(folder, stub_environment(build_stub(folder), folder / "control")) as lab:
            fill_history(playwright, lab, arguments.history)
            for repeat in range(arguments.repeats):
                for state, found in runs.items():
                    print(f"{state}, {repeat + 1} of {arguments.repeats} …", flush=True)
                    found.append(run(playwright, lab, state, arguments.settle, arguments.seconds))
    print(f"\n{f'median of {arguments.repeats}':28}" + "".join(f"{state:>15}" for state in runs))
    for figure in dict.fromkeys(figure for found in runs.values() for figure in found[0]):
        known = [[one[figure] for one in found if figure in one] for found in runs.values()]
        cells = [f"{statistics.median(values):.2f}" if values else "" for values in known]
        print(f"{figure:28}" + "".join(f"{cell:>15}" for cell in cells))
    if arguments.out:
        arguments.out.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
