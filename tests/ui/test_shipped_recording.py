"""The recording that comes with the notebooks, found and replayed on a machine without a GPU."""

import re
from collections.abc import Callable, Mapping
from math import floor
from pathlib import Path
from shutil import copytree
from typing import Any

from playwright.sync_api import Page, expect
from ui.browser import Watched
from ui.lab import Lab
from ui.panel import Card
from ui.replay import Replay

from workshop_utils.monitor.trace import Trace, read_trace

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
NAME = "one_model_four_ways.ndjson"


def moments(trace: Trace) -> dict[str, Mapping[str, Any]]:
    """Return a sample for each mark: of all after it and before the next that in which most SMs work."""
    ends = [*(mark["time"] for mark in trace.marks[1:]), float("inf")]
    return {
        mark["text"]: max(
            (each for each in trace.samples if mark["time"] <= each["time"] < end),
            key=lambda sample: sum(gpu["sm_percent"] or 0 for gpu in sample["gpus"]["data"]),
        )
        for mark, end in zip(trace.marks, ends, strict=True)
    }


def open_by_double_clicks(page: Page) -> Replay:
    """Go to the file as the notebooks say."""
    page.evaluate("window.jupyterapp.commands.execute('filebrowser:activate').then(() => null)")
    items = page.locator(".jp-DirListing-item")
    items.filter(has_text="recorded").dblclick()
    items.filter(has_text=NAME).dblclick()
    return Replay(page)


def line(card: Card, name: str) -> Any:
    """Return what stands beside a name in the details of a card."""
    named = card.more.locator("dt").filter(has_text=re.compile(f"^{name}$"))
    return named.locator("xpath=following-sibling::dd[1]")


def test_the_shipped_recording_is_replayed_without_a_gpu(
    watched: Watched, start_lab: Callable[..., Lab], output: Path
) -> None:
    trace = read_trace(RECORDED / NAME)
    lab = start_lab(driver=False)
    lab.home.joinpath("work").mkdir(exist_ok=True)
    copytree(RECORDED, lab.home / "work" / "recorded")
    page = watched.open_lab(lab.url)
    page.evaluate("window.jupyterapp.restored.then(() => null)")
    page.set_viewport_size({"width": 1280, "height": 1500})
    replay = open_by_double_clicks(page)
    expect(replay.banner).to_have_text(
        re.compile(r"^Recording of .* on 2 × NVIDIA H200, CPU .*\. Nothing here is live\.$")
    )
    expect(replay.slider).to_have_attribute("list", re.compile("^wm-marks-"))
    expect(replay.node.locator("datalist option")).to_have_count(len(trace.marks))
    expect(replay.node.locator(".wm-damage")).to_be_visible(visible=trace.end is None)
    for index in (0, 1):
        replay.gpu(index).more.locator("summary").click()
    for text, sample in moments(trace).items():
        # Half a millisecond later, so that a rounded position is not before it.
        replay.slider.fill(str(sample["time"] - trace.samples[0]["time"] + 5e-4))
        expect(replay.node.locator(".wm-mark")).to_have_text(f"Since the mark “{text}”")
        for index, gpu in enumerate(sample["gpus"]["data"]):
            expect(replay.gpu(index).busy).to_have_text(f"{gpu['utilization_percent']} %")
            expect(line(replay.gpu(index), "SMs busy")).to_have_text(
                re.compile(rf"^{floor(gpu['sm_percent'] + 0.5)}\s%$")
            )
    page.screenshot(path=output / "replay-shipped.png")
    assert watched.our_complaints() == []
