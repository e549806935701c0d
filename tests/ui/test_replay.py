"""Recording with one click, and replaying on a machine without a GPU."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from ui.browser import OURS, Watched
from ui.conftest import Stub
from ui.lab import Lab
from ui.panel import CHANGE_THEME, Panel, open_panel
from ui.replay import Replay, header, lines, open_recording, put
from ui.test_access import violations
from ui.test_panel import LOADED_BYTES

from workshop_utils.monitor.trace import read_trace

SAVED = re.compile(r"^Saved as (gpu-recording-\d{8}-\d{6}(?:-\d)?\.ndjson); a double click .* replays it\.$")
# What the first recording loads beside the panel.
REPLAY_BYTES = 12_000
THEMES = ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"]


def record_for(panel: Panel, milliseconds: int) -> str:
    """Press the button, wait, press it again; returns the name under which the recording was saved."""
    panel.node.get_by_role("button", name="Record", exact=True).click()
    panel.page.wait_for_timeout(milliseconds)
    return stop_and_save(panel)


def stop_and_save(panel: Panel) -> str:
    panel.node.get_by_role("button", name="Stop and save").click()
    said = panel.node.locator(".wm-record-notice .wm-notice-text")
    expect(said).to_have_text(SAVED)
    found = SAVED.match(said.inner_text())
    assert found is not None
    return found.group(1)


def contents_of(page: Page, path: str) -> str:
    """Return a file's text as Jupyter's contents API gives it."""
    text: str = page.evaluate(
        "path => window.jupyterapp.serviceManager.contents.get(path).then(file => file.content)", path
    )
    return text


def test_one_click_records_and_the_next_saves_a_valid_trace(
    watched: Watched, gpu_lab: Lab, stub: Stub
) -> None:
    stub.set("gpus 2", "utilization 37", "process 4321")
    panel = open_panel(watched, gpu_lab)
    panel.expect_gpus_now(2)  # another test may have had eight
    expect(panel.gpu(0).busy).to_have_text("37 %")
    name = record_for(panel, 3_000)
    trace = read_trace(gpu_lab.home / "work" / name)
    assert contents_of(panel.page, name) == (gpu_lab.home / "work" / name).read_text()
    assert trace.header["hardware"][:2] == ["NVIDIA H200 (stub)"] * 2
    assert trace.header["hardware"][2].startswith("CPU ")
    assert {"torch", "jupyterlab"} <= trace.header["versions"].keys()
    assert 2 <= len(trace.samples) <= 5
    assert trace.end is not None
    assert trace.samples[0]["gpus"]["data"][0]["utilization_percent"] == 37
    replay = Replay(panel.page)
    panel.page.evaluate("window.jupyterapp.commands.execute('filebrowser:activate').then(() => null)")
    panel.page.locator(".jp-DirListing-item", has_text=name).dblclick()
    expect(replay.banner).to_contain_text("2 × NVIDIA H200 (stub)")
    expect(replay.gpu(0).busy).to_have_text("37 %")
    replay.gpu(0).more.locator("summary").click()
    expect(replay.gpu(0).more).to_contain_text("4321")
    assert watched.our_complaints() == []


def test_a_recording_that_cannot_be_saved_is_kept_until_it_is(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    writes = re.compile(r"/api/contents/gpu-recording")
    panel.page.route(writes, lambda route: route.fulfill(status=403, body='{"message": "Permission denied"}'))
    record = panel.node.get_by_role("button", name="Record", exact=True)
    record.click()
    panel.page.wait_for_timeout(2_000)
    panel.node.get_by_role("button", name="Stop and save").click()
    said = panel.node.locator(".wm-record-notice .wm-notice-text")
    expect(said).to_contain_text("The recording is not saved (Permission denied); open another folder")
    expect(record).to_be_disabled()
    panel.page.unroute(writes)
    panel.node.get_by_role("button", name="Save again").click()
    expect(said).to_have_text(SAVED)
    expect(record).to_be_enabled()
    found = SAVED.match(said.inner_text())
    assert found is not None
    assert read_trace(gpu_lab.home / "work" / found.group(1)).samples


def test_nothing_is_lost_when_the_server_goes_away_and_the_gap_stays_a_gap(
    watched: Watched, start_lab: Callable[..., Lab]
) -> None:
    lab = start_lab()
    panel = open_panel(watched, lab)
    # Lab itself tells of a server that went away, in front of everything.
    lost = panel.page.get_by_role("dialog").filter(has_text="Server Connection Error")
    panel.page.add_locator_handler(lost, lambda _: panel.page.keyboard.press("Escape"))
    panel.node.get_by_role("button", name="Record", exact=True).click()
    panel.page.wait_for_timeout(3_000)
    lab.stop()
    expect(panel.node).to_have_attribute("data-stream", "broken")
    panel.page.wait_for_timeout(4_000)
    lab.start()
    panel.node.get_by_role("button", name="Try now").click()
    expect(panel.node).to_have_attribute("data-stream", "live", timeout=30_000)
    panel.page.wait_for_timeout(2_500)
    times = [each["time"] for each in read_trace(lab.home / "work" / stop_and_save(panel)).samples]
    steps = [after - before for before, after in pairwise(times)]
    assert times == sorted(set(times))
    assert max(steps) > 4
    assert 1 <= steps.index(max(steps)) < len(steps) - 1


def test_a_recording_is_shown_without_gpu_or_websocket(
    watched: Watched, start_lab: Callable[..., Lab], output: Path
) -> None:
    lab = start_lab(driver=False)
    lab.set_panel_settings(statusBar=False)
    put(lab, "two-h100.ndjson", "\n".join(lines()))
    page = watched.open_lab(f"{lab.base_url}lab?reset&token={lab.token}")
    panel = Panel(page)
    page.evaluate("window.jupyterapp.restored.then(() => null)")
    page.wait_for_timeout(1_000)
    if panel.node.is_visible():
        panel.tab.click()
    page.wait_for_timeout(2_000)
    watched.requests.clear()
    watched.open_lab(f"{lab.base_url}lab")
    page.evaluate("window.jupyterapp.restored.then(() => null)")
    replay = open_recording(page, "two-h100.ndjson")
    expect(replay.banner).to_have_text(
        re.compile(r"^Recording of .*2026.* on 2 × NVIDIA H100 80GB HBM3, CPU .*\. Nothing here is live\.$")
    )
    expect(replay.gpu(0).busy).to_have_text("0 %")
    expect(replay.gpu(1).node.get_by_role("heading")).to_have_text(re.compile("^GPU 1 NVIDIA H100 80GB HBM3"))
    expect(replay.job.busy).to_have_text("50 %")
    assert watched.streams() == []
    assert watched.our_complaints() == []


def test_the_slider_moves_the_values_and_keys_move_the_slider(
    watched: Watched, gpu_lab: Lab, output: Path
) -> None:
    put(gpu_lab, "t.ndjson", "\n".join(lines()))
    panel = open_panel(watched, gpu_lab)
    before = panel.page.evaluate(LOADED_BYTES, OURS)
    replay = open_recording(panel.page, "t.ndjson")
    slider, gpu = replay.slider, replay.gpu(0)
    expect(slider).to_have_attribute("aria-valuetext", "0:00 of 1:30")
    more = panel.page.evaluate(LOADED_BYTES, OURS) - before
    print(f"{more} bytes for the first recording beside {before} of the panel")
    assert 0 < more < REPLAY_BYTES
    slider.focus()
    page = panel.page
    page.keyboard.press("End")
    expect(gpu.busy).to_have_text("90 %")
    expect(gpu.memory).to_have_text("10.0 of 80.0 GiB")
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(gpu.busy).to_have_text("3 %")
    page.keyboard.press("PageUp")
    expect(gpu.busy).to_have_text("12 %")
    picture = gpu.picture()
    slider.fill("42.5")
    expect(gpu.busy).to_have_text("42 %")
    expect(slider).to_have_attribute("aria-valuetext", "0:42 of 1:30")
    expect(replay.node.locator(".wm-mark")).to_have_text("Since the mark “prefill ended”")
    assert gpu.picture() == picture  # the chart is of the whole recording; only the line moves
    expect(replay.node.get_by_role("region", name="Recorded warnings")).to_be_hidden()
    slider.fill("75")
    expect(replay.node.get_by_role("region", name="Recorded warnings")).to_contain_text(
        "nearly out of memory"
    )
    gpu.more.locator("summary").click()
    expect(gpu.more).to_contain_text("07.ipynb: 5.0 GiB")
    replay.job.more.locator("summary").click()
    expect(replay.job.more).to_contain_text("in 8 min")  # of the recording's time, not of now
    gpu.table.locator("summary").click()
    expect(gpu.table.get_by_role("table")).to_have_accessible_name("GPU 0, the whole recording")
    expect(gpu.table.get_by_role("rowheader")).to_have_text(["1:00", "0:00"])
    expect(gpu.chart).to_have_accessible_name("GPU 0: Utilisation and Memory, whole recording")


def test_play_pause_and_speed(watched: Watched, gpu_lab: Lab) -> None:
    put(gpu_lab, "t.ndjson", "\n".join(lines()))
    panel = open_panel(watched, gpu_lab)
    replay = open_recording(panel.page, "t.ndjson")
    replay.button("16×").click()
    expect(replay.button("16×")).to_have_attribute("aria-pressed", "true")
    expect(replay.button("1×")).to_have_attribute("aria-pressed", "false")
    replay.button("Play").click()
    panel.page.wait_for_timeout(2_000)
    replay.button("Pause").click()
    there = float(replay.slider.input_value())
    assert 16 < there < 60
    panel.page.wait_for_timeout(500)
    assert float(replay.slider.input_value()) == there
    expect(replay.gpu(0).busy).to_have_text(f"{int(there)} %")
    replay.button("Play").click()
    expect(replay.button("Play")).to_be_visible(timeout=10_000)  # at the end it pauses by itself
    expect(replay.gpu(0).busy).to_have_text("90 %")


def test_a_gap_says_that_nothing_was_measured(watched: Watched, gpu_lab: Lab) -> None:
    put(gpu_lab, "t.ndjson", "\n".join(lines(gap=range(40, 60))))
    panel = open_panel(watched, gpu_lab)
    replay = open_recording(panel.page, "t.ndjson")
    replay.slider.fill("55")
    expect(replay.gpu(0).node.locator(".wm-fault")).to_have_text("Nothing was measured at this moment.")
    expect(replay.gpu(0).busy).to_be_hidden()
    replay.slider.fill("70")
    expect(replay.gpu(0).busy).to_have_text("70 %")


WHOLE = lines(20)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no GPU recording: it does not begin with the header"),
        ('{"id": 1}\n{"id": 2}\n', "is no GPU recording"),
        ("<html>", "is no GPU recording"),
        (
            json.dumps(header(version=9)),
            "is a recording of version 9 and this panel reads version 1; record it",
        ),
        (json.dumps(header()) + "\n", "is a GPU recording without a sample that can be read"),
        (
            WHOLE[0] + "\n" + "x" * 65_000_000,
            "has 65 MB, and this view reads recordings up to 64 MB; record it",
        ),
        ("\ud800".encode("utf-8", "surrogatepass"), "cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(
    watched: Watched, gpu_lab: Lab, text: str | bytes, sentence: str
) -> None:
    file = gpu_lab.home / "work" / "bad.ndjson"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    panel = open_panel(watched, gpu_lab)
    replay = open_recording(panel.page, "bad.ndjson")
    expect(replay.sentence).to_contain_text(f"bad.ndjson {sentence}")
    offered = panel.page.get_by_role("button", name="Open as text")
    expect(offered).to_be_visible(visible="MB" not in sentence)
    panel.expect_live()
    assert watched.our_complaints() == []
    file.unlink()


def test_a_damaged_recording_shows_what_there_is_and_counts_what_is_left_out(
    watched: Watched, gpu_lab: Lab
) -> None:
    put(
        gpu_lab,
        "cut.ndjson",
        "\n".join([*WHOLE[:5], "nonsense", '{"kind": "sample"}', *WHOLE[5:12], WHOLE[12][:99]]),
    )
    panel = open_panel(watched, gpu_lab)
    replay = open_recording(panel.page, "cut.ndjson")
    expect(replay.node.locator(".wm-damage")).to_have_text(
        "The recording was cut off: it has no end, and this is what there is. "
        "2 lines that cannot be read left out."
    )
    expect(replay.slider).to_have_attribute("aria-valuetext", "0:00 of 0:10")
    replay.slider.fill("10")
    expect(replay.gpu(0).busy).to_have_text("10 %")


def test_saving_with_the_keyboard_does_not_empty_the_file(watched: Watched, gpu_lab: Lab) -> None:
    """Lab's own model of the file is empty, since the view reads it by itself."""
    file = put(gpu_lab, "t.ndjson", "\n".join(WHOLE))
    panel = open_panel(watched, gpu_lab)
    replay = open_recording(panel.page, "t.ndjson")
    expect(replay.banner).to_be_visible()
    panel.page.evaluate("void window.jupyterapp.commands.execute('docmanager:save')")
    panel.page.wait_for_timeout(1_500)
    assert file.read_text() == "\n".join(WHOLE)


def test_the_palettes_command_lets_choose(watched: Watched, gpu_lab: Lab, output: Path) -> None:
    put(gpu_lab, "choose.ndjson", "\n".join(WHOLE))
    put(gpu_lab, "other.txt", "x")
    (gpu_lab.home / "work" / "folder").mkdir(exist_ok=True)
    panel = open_panel(watched, gpu_lab)
    page = panel.page
    page.evaluate("void window.jupyterapp.commands.execute('workshop-monitor:open-recording')")
    dialog = page.get_by_role("dialog")
    items = dialog.locator(".jp-DirListing-item")
    expect(items.filter(has_text="choose.ndjson")).to_be_visible()
    expect(items.filter(has_text="folder")).to_be_visible()
    expect(items.filter(has_text="other.txt")).to_have_count(0)
    items.filter(has_text="choose.ndjson").click()
    page.screenshot(path=output / "replay-choose.png")
    dialog.get_by_role("button", name="Select").click()
    expect(Replay(page).banner).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_in_a_recording(watched: Watched, gpu_lab: Lab, output: Path, theme: str) -> None:
    put(gpu_lab, "two-h100.ndjson", "\n".join(lines(gap=range(70, 80))))
    panel = open_panel(watched, gpu_lab)
    page = panel.page
    page.evaluate(CHANGE_THEME, theme)
    page.set_viewport_size({"width": 1280, "height": 1500})
    replay = open_recording(page, "two-h100.ndjson")
    replay.slider.fill("65")
    for card in (replay.gpu(0), replay.job):
        card.more.locator("summary").click()
        card.table.locator("summary").click()
    replay.slider.focus()
    page.wait_for_timeout(1_500)
    page.screenshot(path=output / f"replay-{theme.split(' ', 1)[1].lower().replace(' ', '-')}.png")
    found = violations(page, ".wm-replay-tab")
    assert not found, json.dumps(found, indent=1)
