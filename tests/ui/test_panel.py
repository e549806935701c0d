"""The panel in a real JupyterLab, over the real nvidia-ml-py and a stub NVML library with faults."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from ui.browser import OURS, Watched
from ui.conftest import Stub
from ui.kernel import DECODE_CODE, KERNEL_CODE, RUN_IN_A_KERNEL
from ui.lab import Lab
from ui.panel import CHANGE_THEME, COUNT_DRAWINGS, Card, Panel, open_panel

# What a browser itself reports when a server goes away; no script can prevent it.
CONNECTION_FAILED = re.compile(r"WebSocket connection to .* failed|ERR_CONNECTION_REFUSED")
# What a reader loads for the status bar with the panel closed, and for all with it open. Nobody compresses
# it: Jupyter serves files as they are.
EAGER_BYTES, ALL_BYTES = 40_000, 120_000
# What a browser does to a page whose tab another is put before, and a minute that takes half a second.
HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
BRIEF_MINUTE = """
const wait = window.setTimeout.bind(window);
window.setTimeout = (run, ms, ...rest) => wait(run, ms === 60000 ? 500 : ms, ...rest);
"""
LOADED_BYTES = """part => performance.getEntriesByType('resource')
  .filter(entry => entry.name.includes(part))
  .reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""


def expect_chart_to_move(panel: Panel, card: Card) -> None:
    """Each sample moves the chart, since its window ends at the newest one."""
    picture = card.picture()
    panel.page.wait_for_function(
        "([canvas, picture]) => canvas.toDataURL() !== picture",
        arg=[card.chart.locator("canvas").element_handle(), picture],
        timeout=10_000,
    )


def expect_change(panel: Panel, card: Card) -> None:
    """Numbers and chart move. Not for the job's CPU, which stays at 100 % on a busy machine."""
    expect_chart_to_move(panel, card)
    expect(card.busy).not_to_have_text(card.busy.inner_text(), timeout=10_000)


def test_opens_by_itself_and_moves(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    for index in (0, 1):
        expect(panel.gpu(index).node.get_by_role("heading")).to_have_text(f"GPU {index} NVIDIA H200 (stub)")
        expect_change(panel, panel.gpu(index))
    expect_chart_to_move(panel, panel.job)
    assert watched.our_complaints() == []


def test_figures_are_those_of_the_driver(watched: Watched, gpu_lab: Lab, stub: Stub) -> None:
    stub.set("gpus 2", "utilization 37", f"memory_used {3 * 2**30}")
    panel = open_panel(watched, gpu_lab)
    for index in (0, 1):
        expect(panel.gpu(index).busy).to_have_text("37 %")
        expect(panel.gpu(index).memory).to_have_text("3.0 of 140 GiB")


def test_more_of_a_gpu_is_folded_away_and_told_on_demand(
    watched: Watched, gpu_lab: Lab, stub: Stub, output: Path
) -> None:
    stub.set("gpus 2", "throttle 4", "nvlink_gb_per_s 50", "process 4321", f"process_bytes {2 * 2**30}")
    panel = open_panel(watched, gpu_lab)
    details = panel.gpu(0).more
    expect(details.get_by_text("held back: power limit")).to_be_visible()
    expect(details.get_by_text("SMs busy")).to_be_hidden()
    details.locator("summary").focus()
    panel.page.keyboard.press("Enter")
    expect(details.get_by_text("SMs busy")).to_be_visible()
    for words in (
        "40 %",
        "of 700 W",
        "1980 MHz, 2619 MHz",
        "50.0 GB/s, 50.0 GB/s",
        "unknown (4321): 2.0 GiB",
    ):
        expect(details).to_contain_text(words)
    panel.page.screenshot(path=output / "panel-details.png")
    stub.set("gpus 2", "unsupported temperature")
    expect(details).to_contain_text("Temperaturenot reported")
    expect(details.locator("dd").nth(5)).to_have_attribute("title", "Not Supported")
    expect(details.get_by_text("held back")).to_be_hidden()
    assert watched.our_complaints() == []


def test_memory_is_attributed_to_a_notebook_by_name(
    watched: Watched, start_lab: Callable[..., Lab], stub: Stub, output: Path
) -> None:
    panel = open_panel(watched, start_lab())
    kernel, child = panel.page.evaluate(RUN_IN_A_KERNEL, KERNEL_CODE).split()
    stub.set("gpus 2", f"process {kernel}", f"process {child}", "process 1", f"process_bytes {3 * 2**30}")
    details = panel.gpu(0).more
    details.locator("summary").click()
    expect(details).to_contain_text("my <b>plan.ipynb: 6.0 GiB, unknown (1): 3.0 GiB", timeout=20_000)
    panel.page.screenshot(path=output / "panel-notebook.png")
    assert watched.our_complaints() == []


def test_a_decode_loop_tells_its_tokens_and_their_energy(
    watched: Watched, start_lab: Callable[..., Lab], output: Path
) -> None:
    panel = open_panel(watched, start_lab())
    told = panel.node.get_by_text("Decoding")
    expect(told).to_be_hidden()
    panel.page.evaluate(RUN_IN_A_KERNEL, DECODE_CODE)
    expect(told).to_have_text(re.compile(r"^Decoding: [\d,.]+\stokens/s, \d[\d.]*\sJ/token$"), timeout=15_000)
    panel.page.wait_for_timeout(5_000)
    per_second = float(told.inner_text().split()[1])
    # 8 tokens every 20 ms or a little more, however busy this machine is.
    assert 100 < per_second <= 400
    panel.page.screenshot(path=output / "panel-decoding.png")
    expect(told).to_be_hidden(timeout=30_000)
    assert watched.our_complaints() == []


def test_a_divided_gpu_tells_its_instances(
    watched: Watched, start_lab: Callable[..., Lab], stub: Stub, output: Path
) -> None:
    stub.set("gpus 2", "mig 0", "process 4321")
    panel = open_panel(watched, start_lab())
    details = panel.gpu(0).more
    details.locator("summary").click()
    expect(details).to_contain_text("MIG1g.18gb: 9.0 GiB of 18.0 GiB, SMs 40 %, programs: unknown (4321)")
    expect(panel.gpu(0).busy).to_have_text("not reported")
    panel.page.screenshot(path=output / "panel-mig.png")
    panel.gpu(1).more.locator("summary").click()
    expect(panel.gpu(1).more).to_contain_text("MIGnot divided")
    assert watched.our_complaints() == []


def test_job_is_measured_against_its_limit(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    panel.job.more.locator("summary").click()
    expect(panel.job.more).to_contain_text(re.compile(r"Network out, in[\d.]+\s.B/s"))
    expect(panel.job.more).to_contain_text("Job endsno time limit known")
    expect(panel.job.node).to_contain_text(re.compile(r"of \d+(\.\d)? cores? ?(\(.+\)|, the whole machine)"))
    expect(panel.job.memory).to_have_text(re.compile(r"^[\d.]+ of [\d.]+ GiB$"))


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_takes_the_colours_of_the_theme(watched: Watched, gpu_lab: Lab, output: Path, theme: str) -> None:
    panel = open_panel(watched, gpu_lab)
    watched.page.evaluate(CHANGE_THEME, f"JupyterLab {theme}")
    drawn = "document.querySelector('.wm-chart canvas')"
    colour = "getComputedStyle(document.documentElement).getPropertyValue('--jp-ui-font-color2')"
    # The axis is written in the theme's colour for secondary text: some pixel of the canvas has it.
    watched.page.wait_for_function(
        f"""() => {{
          const probe = document.createElement('canvas').getContext('2d');
          probe.fillStyle = {colour};
          probe.fillRect(0, 0, 1, 1);
          const wanted = probe.getImageData(0, 0, 1, 1).data.join();
          const canvas = {drawn};
          const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          for (let at = 0; at < pixels.length; at += 4) {{
            if (pixels.slice(at, at + 4).join() === wanted) return true;
          }}
          return false;
        }}""",
        timeout=10_000,
    )
    panel.page.wait_for_timeout(1_500)
    panel.page.screenshot(path=output / f"panel-{theme.lower()}.png")
    assert watched.our_complaints() == []


def test_lost_gpu_is_shown_as_lost_and_comes_back(
    watched: Watched, gpu_lab: Lab, stub: Stub, output: Path
) -> None:
    panel = open_panel(watched, gpu_lab)
    expect(panel.gpu(1).busy).to_have_text(re.compile(r"\d+ %"))
    stub.set("gpus 2", "lost 1")
    expect(panel.gpu(1).node).to_contain_text("Lost. GPU 1 (NVIDIA H200 (stub)) has fallen off the bus")
    expect(panel.gpu(1).busy).to_be_hidden()
    expect_change(panel, panel.gpu(0))
    panel.page.screenshot(path=output / "panel-lost.png")
    stub.set("gpus 2")
    expect(panel.gpu(1).node).not_to_contain_text("Lost", timeout=20_000)
    expect(panel.gpu(1).busy).to_have_text(re.compile(r"\d+ %"))
    assert watched.our_complaints() == []


def test_figure_that_is_not_supported_is_not_reported(watched: Watched, gpu_lab: Lab, stub: Stub) -> None:
    stub.set("gpus 2", "unsupported utilization")
    panel = open_panel(watched, gpu_lab)
    expect(panel.gpu(0).busy).to_have_text("not reported")
    expect(panel.gpu(0).memory).to_have_text(re.compile(r"^[\d.]+ of 140 GiB$"))
    stub.set("gpus 2")
    expect(panel.gpu(0).busy).to_have_text(re.compile(r"\d+ %"))


def test_eight_gpus_scroll(watched: Watched, start_lab: Callable[..., Lab], stub: Stub, output: Path) -> None:
    stub.set("gpus 8")
    panel = open_panel(watched, start_lab())
    expect(panel.gpu(7).busy).to_have_text(re.compile(r"\d+ %"))
    panel.node.focus()
    panel.page.keyboard.press("End")
    expect(panel.job.chart).to_be_in_viewport()
    panel.page.screenshot(path=output / "panel-eight.png")


def test_no_driver_says_so_and_the_job_is_still_shown(
    watched: Watched, start_lab: Callable[..., Lab], output: Path
) -> None:
    panel = open_panel(watched, start_lab(driver=False))
    expect(panel.node).to_contain_text("This machine has no NVIDIA driver")
    assert panel.node.get_by_role("region", name=re.compile("^GPU ")).count() == 0
    expect_chart_to_move(panel, panel.job)
    panel.page.screenshot(path=output / "panel-no-driver.png")
    assert watched.our_complaints() == []


def test_server_that_stops_is_told_and_the_panel_reconnects(
    watched: Watched, start_lab: Callable[..., Lab], output: Path
) -> None:
    lab = start_lab()
    panel = open_panel(watched, lab)
    lab.stop()
    expect(panel.node).to_contain_text("Disconnected from the server")
    expect(panel.gpu(0).busy).to_have_text(re.compile(r"\d+ %"))
    panel.page.screenshot(path=output / "panel-disconnected.png")
    lab.start()
    expect(panel.node).not_to_contain_text("Disconnected", timeout=30_000)
    expect_change(panel, panel.gpu(0))
    unexpected = [each for each in watched.our_complaints() if not CONNECTION_FAILED.search(each.text)]
    assert unexpected == []


def test_missing_server_extension_says_what_to_do(watched: Watched, start_lab: Callable[..., Lab]) -> None:
    lab = start_lab("--ServerApp.jpserver_extensions=workshop_monitor=False")
    panel = Panel(watched.open_lab(lab.url))
    expect(panel.node).to_contain_text("The server part of this panel is missing (404)")
    expect(panel.node).to_contain_text("restart the server")


def test_draws_nothing_while_hidden_and_keeps_one_socket(watched: Watched, gpu_lab: Lab) -> None:
    watched.page.add_init_script(COUNT_DRAWINGS)
    panel = open_panel(watched, gpu_lab)
    expect_change(panel, panel.gpu(0))
    panel.tab.click()
    expect(panel.node).to_be_hidden()
    panel.page.wait_for_timeout(300)
    before = panel.drawings()
    panel.page.wait_for_timeout(3_000)
    assert panel.drawings() == before
    panel.tab.click()
    expect_change(panel, panel.gpu(0))
    assert panel.drawings() > before
    assert len(watched.streams()) == 1


def test_draws_the_charts_that_are_in_view(watched: Watched, gpu_lab: Lab, stub: Stub) -> None:
    stub.set("gpus 8")
    panel = open_panel(watched, gpu_lab)
    panel.expect_gpus(8)
    first, last = panel.gpu(0), panel.gpu(7)
    blank = last.picture()
    for _ in range(2):
        expect_change(panel, first)
    assert last.picture() == blank
    expect(last.busy).not_to_have_text("–")  # readings are those of now, seen or not
    last.chart.scroll_into_view_if_needed()
    expect_chart_to_move(panel, last)
    unseen = first.picture()
    for _ in range(2):
        expect_change(panel, last)
    assert first.picture() == unseen


def test_a_page_that_nobody_sees_asks_for_less_unless_it_records(watched: Watched, gpu_lab: Lab) -> None:
    watched.page.add_init_script(BRIEF_MINUTE)
    panel = open_panel(watched, gpu_lab)
    with panel.page.expect_websocket(lambda socket: "hz=0.2&" in socket.url):
        panel.page.evaluate(HIDE, True)
    with panel.page.expect_websocket(lambda socket: "hz=1&" in socket.url):
        panel.page.evaluate(HIDE, False)
    expect_change(panel, panel.gpu(0))
    streams = len(watched.streams())
    panel.page.evaluate(HIDE, True)  # for less than a minute
    panel.page.evaluate(HIDE, False)
    panel.node.get_by_role("button", name="Record").click()
    panel.page.evaluate(HIDE, True)
    panel.page.wait_for_timeout(2_000)
    assert len(watched.streams()) == streams
    panel.page.evaluate(HIDE, False)
    expect_change(panel, panel.gpu(0))
    assert watched.our_complaints() == []


def test_stays_closed_for_a_reader_who_closed_it(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    panel.tab.click()
    expect(panel.node).to_be_hidden()
    # Lab saves its layout a second after the last change.
    panel.page.wait_for_timeout(2_000)
    watched.requests.clear()
    watched.open_lab(f"{gpu_lab.base_url}lab")
    expect(panel.tab).to_be_visible()
    panel.page.wait_for_timeout(2_000)
    expect(panel.node).to_have_count(0)
    assert len(watched.streams()) == 1  # of the status bar
    eager = panel.page.evaluate(LOADED_BYTES, OURS)
    assert 0 < eager < EAGER_BYTES
    panel.tab.click()
    panel.expect_live()
    everything = panel.page.evaluate(LOADED_BYTES, OURS)
    print(f"{eager} bytes at start, {everything} with the panel open")
    assert eager < everything < ALL_BYTES


def test_can_be_read_without_a_mouse(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    name = panel.gpu(0).node.get_by_role("button", name="Utilisation")
    meaning = panel.gpu(0).node.get_by_role("tooltip", name="", include_hidden=True).first
    expect(meaning).to_be_hidden()
    panel.node.focus()
    panel.page.keyboard.press("Tab")
    expect(panel.node.get_by_role("button", name="Record")).to_be_focused()
    panel.page.keyboard.press("Tab")
    expect(name).to_be_focused()
    expect(meaning).to_be_visible()
    expect(name).to_have_accessible_description(re.compile("at least one kernel ran"))
    expect(panel.gpu(0).chart).to_have_accessible_name("GPU 0: Utilisation and Memory, last ten minutes")


def test_lives_beside_nvdashboard(watched: Watched, gpu_lab: Lab) -> None:
    panel = open_panel(watched, gpu_lab)
    assert any("/lab/extensions/jupyterlab-nvdashboard/" in url for url in watched.requests)
    panel.page.locator(".jp-SideBar.jp-mod-left .lm-TabBar-tab[data-id=gpu-dashboard]").click()
    panel.page.get_by_role("button", name="GPU Utilization").first.click()
    panel.page.wait_for_timeout(3_000)
    panel.tab.click()
    expect_change(panel, panel.gpu(0))
    # Neither complains about anything; what nvdashboard may come to log belongs into a list by name here.
    assert watched.complaints == []
