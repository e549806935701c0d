"""Two windows of Lab on one server: both are live, and neither minds what the other does."""

import json

from playwright.sync_api import Page, WebSocket, expect
from ui.browser import Watched
from ui.conftest import Stub
from ui.lab import Lab
from ui.panel import Panel, open_panel
from ui.test_panel import expect_chart_to_move
from ui.test_settings import OPEN_EDITOR, field


def samples_of(page: Page) -> dict[float, str]:
    """Return what is filled from now on with the samples that this page is sent, as they came, by time."""
    samples: dict[float, str] = {}

    def take(payload: str | bytes) -> None:
        frame = json.loads(payload)
        if frame["kind"] == "sample":
            samples[frame["time"]] = str(payload)

    def listen(socket: WebSocket) -> None:
        if "/workshop-monitor/stream" in socket.url:
            socket.on("framereceived", take)

    page.on("websocket", listen)
    return samples


def expect_figures(stub: Stub, percent: int, *panels: Panel) -> None:
    stub.set("gpus 2", f"utilization {percent}")
    for panel in panels:
        expect(panel.gpu(0).busy).to_have_text(f"{percent} %")


def test_both_show_the_same_samples_and_one_outlives_the_other(
    watched: Watched, gpu_lab: Lab, stub: Stub
) -> None:
    other = Watched(watched.page.context.new_page())
    seen, seen_by_other = samples_of(watched.page), samples_of(other.page)
    panel, second = open_panel(watched, gpu_lab), open_panel(other, gpu_lab)
    expect_figures(stub, 37, panel, second)
    panel.page.wait_for_timeout(3_500)
    both = seen.keys() & seen_by_other.keys()
    assert len(both) >= 3
    assert [seen[time] for time in both] == [seen_by_other[time] for time in both]
    panel.page.close()
    expect_figures(stub, 52, second)
    expect_chart_to_move(second, second.gpu(0))
    expect(second.node).not_to_contain_text("Disconnected")


def test_another_rate_in_one_leaves_the_other_as_it_was(watched: Watched, gpu_lab: Lab, stub: Stub) -> None:
    other = Watched(watched.page.context.new_page())
    seen_by_other = samples_of(other.page)
    panel, second = open_panel(watched, gpu_lab), open_panel(other, gpu_lab)
    panel.page.evaluate(OPEN_EDITOR)
    field(panel, "rate").fill("5")
    with panel.page.expect_websocket(lambda socket: "hz=5&" in socket.url) as fast:
        panel.page.keyboard.press("Tab")
    fast.value.wait_for_event("framereceived")
    seen_by_other.clear()
    panel.page.wait_for_timeout(4_000)
    assert 3 <= len(seen_by_other) <= 5
    expect_figures(stub, 37, panel, second)
    expect_figures(stub, 52, panel, second)
    expect_chart_to_move(second, second.gpu(0))
    assert watched.our_complaints() == []
