"""The device-map explorer: the core's figures, bad input as a sentence, loading what is here and fits."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.models.catalogue import CONFIGS
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.advice import milliseconds
from workshop_utils.parallel.big_model.devices import imagined_devices
from workshop_utils.parallel.big_model.fitting import fitting_map
from workshop_utils.parallel.big_model.maps import MAP_KINDS, accelerate_map, default_limits
from workshop_utils.parallel.big_model.module_sizes import module_sizes, tied_skeleton
from workshop_utils.parallel.big_model.peaks import device_peaks
from workshop_utils.parallel.big_model.speed import expected_tpot
from workshop_utils.units import GIB, format_gib
from workshop_utils.widgets import device_map_explorer_load as load_module
from workshop_utils.widgets.calculator import STALE, WAITING
from workshop_utils.widgets.controls import OTHER_MODEL
from workshop_utils.widgets.device_map_explorer import DeviceMapExplorer, device_map_explorer
from workshop_utils.widgets.device_map_explorer_controls import HERE, OTHER_DEVICES
from workshop_utils.widgets.device_map_explorer_result import FITTING, Asked, explore, parts_words
from workshop_utils.widgets.device_path_view import map_text, stops_of
from workshop_utils.widgets.device_table_view import tpot_html

SMALL = "smollm2-135m"


def plain(html: str) -> str:
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL).replace("\u2060", "")
    return " ".join(unescape(text).split())


def words(explorer: DeviceMapExplorer) -> str:
    return plain(explorer.html)


def slot(explorer: DeviceMapExplorer, name: str) -> str:
    return plain(explorer.controls.slots[name].value)


def greyed(explorer: DeviceMapExplorer) -> bool:
    return STALE in explorer.results._dom_classes


def table(explorer: DeviceMapExplorer) -> dict[str, list[str]]:
    """Return the cells of each row of the table of peaks."""
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', explorer._peaks.value)
    return {
        unescape(name): [plain(cell) for cell in re.findall(r"<td.*?>(.*?)</td>", cells)]
        for name, cells in rows
    }


class Elements(HTMLParser):
    """The elements of a page, each closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def here() -> Iterator[DeviceMapExplorer]:
    """The small model on this machine, nothing of it left afterwards."""
    explorer = device_map_explorer(SMALL, HERE, tokens=512)
    yield explorer
    if explorer.load.loaded:
        explorer.load.button.click()


@pytest.mark.parametrize("kind", MAP_KINDS)
@pytest.mark.parametrize(("model", "gpus"), [("llama-3.1-70b", "4 x A40"), ("mixtral-8x7b", "2 x A40")])
def test_table_and_time_are_the_cores(model: str, gpus: str, kind: str) -> None:
    explorer = device_map_explorer(model, gpus, tokens=8192)
    explorer.controls.kind.value = kind
    devices = imagined_devices(gpus)
    placement = accelerate_map(model, devices, kind=kind)
    rows = table(explorer)
    assert list(rows) == [device.label for device in devices.all]
    for peak in device_peaks(find_architecture(model), placement, devices, tokens=8192):
        cells = rows[peak.device.label]
        assert cells[-2] == format_gib(peak.device.free_bytes)
        if not peak.peak_bytes:
            assert cells[-1] == "empty"
            continue
        assert cells[-3] == format_gib(peak.process_bytes)
        assert (cells[-1] == "✓ holds") == peak.fits
        if peak.estimate:
            for number, part in enumerate(("weights", "kv_cache", "activations")):
                size = peak.estimate.bytes_of(part)  # type: ignore[arg-type]
                assert cells[number] == (format_gib(size) if size else "–")
    tpot = expected_tpot(model, placement, devices, tokens=8192)
    assert f"{milliseconds(tpot.ms)} a token predicted" in words(explorer)
    for part in tpot.parts:
        assert part.name in words(explorer)
        assert part.source in words(explorer)
    assert f"changes the device {placement.hops} times" in words(explorer)


def test_a_map_that_does_not_hold_is_said_in_words_with_what_is_missing() -> None:
    explorer = device_map_explorer("mixtral-8x7b", "2 x A40", tokens=8192)
    result = explorer.result()
    assert result is not None
    missing = [column.excess_bytes for column in result.columns]
    first = result.fit.peaks[0]
    assert first.estimate is not None
    assert missing[0] == first.estimate.needed_bytes - first.device.free_bytes > GIB
    assert "✗ This map does not hold at 8,192 tokens × batch 1" in words(explorer)
    for size in missing[:2]:
        assert words(explorer).count(f"✗ does not fit: {format_gib(size)} too much") == 2  # column and table
    explorer.controls.kind.value = FITTING
    assert "✓ This map holds" in words(explorer)
    assert "does not fit" not in words(explorer)


def test_fitting_shows_its_limits_and_gives_the_readers_own_back() -> None:
    explorer = device_map_explorer("llama-3.1-70b", "4 x A40", tokens=8192)
    sliders = explorer.controls.limits.sliders
    sliders[1].value = 20.0
    explorer.controls.kind.value = FITTING
    fit = fitting_map("llama-3.1-70b", imagined_devices("4 x A40"), tokens=8192)
    result = explorer.result()
    assert result is not None
    assert result.fit.max_memory == fit.max_memory
    assert all(slider.disabled for slider in sliders.values())
    assert sliders[1].value == pytest.approx(fit.max_memory[1] / GIB, abs=0.1)
    sliders[1].value = 3.0  # as a browser's echo
    explorer.controls.kind.value = "sequential"
    assert sliders[1].value == 20.0
    assert not any(slider.disabled for slider in sliders.values())


def test_a_gpu_that_a_fit_leaves_out_is_an_empty_column() -> None:
    explorer = device_map_explorer(SMALL, "4 x A40", tokens=2048)
    explorer.controls.kind.value = FITTING
    assert "3 of 4 GPUs stay empty" in words(explorer)
    assert [cells[-1] for cells in table(explorer).values()] == ["✓ holds"] + ["empty"] * 5


def test_sliders_are_max_memory() -> None:
    explorer = device_map_explorer("llama-3.1-70b", "4 x A40", tokens=8192)
    devices = imagined_devices("4 x A40")
    result = explorer.result()
    assert result is not None
    assert result.asked.max_memory is None
    explorer.controls.limits.sliders[2].value = 10.0
    limits = default_limits(devices) | {2: 10 * GIB}
    result = explorer.result()
    assert result is not None
    assert result.asked.max_memory == limits
    expected = accelerate_map("llama-3.1-70b", devices, max_memory=limits)
    assert result.fit.placement.modules == expected.modules
    explorer.controls.limits.reset.click()
    result = explorer.result()
    assert result is not None
    assert result.asked.max_memory is None
    assert explorer.controls.limits.sliders[2].value == explorer.controls.limits.sliders[1].value


def test_a_slider_move_builds_and_measures_no_model_anew() -> None:
    explorer = device_map_explorer("llama-3.1-70b", "4 x A40", tokens=8192)
    explorer.result()
    before = [known.cache_info().misses for known in (tied_skeleton, module_sizes)]
    for place in (30.0, 31.0, 32.0):
        explorer.controls.limits.sliders[0].value = place
        assert explorer.result() is not None
    assert [known.cache_info().misses for known in (tied_skeleton, module_sizes)] == before


def test_boxes_are_the_maps_bytes_in_the_order_of_a_token() -> None:
    for model, gpus in (("llama-3.1-70b", "1 x A40"), (SMALL, "none"), ("gemma-3-4b", "1 x RTX 2080 Ti")):
        result = device_map_explorer(model, gpus, tokens=1024).result()
        assert result is not None
        numbers = []
        for column in result.columns:
            held = result.fit.placement.bytes_by_device[column.device.key]
            assert sum(box.bytes for box in column.boxes) == held
            numbers += [int(box.short) for box in column.boxes if box.short.isdecimal()]
        assert numbers == list(range(len(result.architecture.layers)))


def test_the_path_counts_as_the_core_does_and_names_what_is_copied() -> None:
    for gpus in ("1 x A40", "4 x A40", "8 x H200"):
        explorer = device_map_explorer("llama-3.1-70b", gpus, tokens=2048)
        result = explorer.result()
        assert result is not None
        placement = result.fit.placement
        stops = stops_of(placement)
        back = placement.runs_on(placement.head) != placement.runs_on(placement.embedding)
        assert max(stop.hop for stop in stops) + back == placement.hops
        assert explorer._path.value.count("→") == placement.hops
    explorer = device_map_explorer("llama-3.1-70b", "1 x A40", tokens=2048)
    result = explorer.result()
    assert result is not None
    away = format_gib(result.fit.placement.offloaded_bytes)
    assert f"{away} of weights lie elsewhere and are copied to GPU 0 for every single token" in words(
        explorer
    )
    assert "from host memory" in words(explorer)
    assert f"✓ This map holds at 2,048 tokens × batch 1, but copies {away} for every token" in words(explorer)


def test_the_map_as_text_is_python_that_makes_the_map() -> None:
    for gpus, kind in (("4 x A40", "balanced"), ("1 x A40", "sequential")):
        placement = accelerate_map("llama-3.1-70b", imagined_devices(gpus), kind=kind)
        limits = {0: 10**10, "cpu": 5}
        text = map_text(placement.modules, limits)
        names: dict[str, Any] = {}
        exec(text, names)
        assert names["device_map"] == placement.modules
        assert list(names["device_map"]) == list(placement.modules)
        assert names["max_memory"] == limits
        assert text.count("\n") < 20
    odd = {"a.{0}.b.0": 0, "a.{0}.b.1": 0, "a.{0}.b.2": 0, "it's": "cpu"}
    exec(map_text(odd, {}), names)
    assert names["device_map"] == odd


def test_the_switch_keeps_open_what_each_new_value_would_close() -> None:
    explorer = device_map_explorer(SMALL, "2 x A40", tokens=2048)
    assert "<details open>" not in explorer.html
    explorer.opened.value = True
    explorer.controls.tokens.field.value = "1024"
    assert explorer.html.count("<details open>") == explorer.html.count("<details") == 2


@pytest.mark.parametrize(
    ("ms", "words"), [(10.0, "100 tokens/s"), (0.7, "1,400 tokens/s"), (30.0, "33 tokens/s"), (4e3, "0.25 ")]
)
def test_a_rate_is_a_number_that_people_write(ms: float, words: str) -> None:
    explored = explore(Asked(SMALL, imagined_devices("1 x A40"), 512, 1, "bfloat16", FITTING, None))
    part = replace(explored.tpot.parts[0], ms=ms)
    timed = replace(explored, tpot=replace(explored.tpot, parts=(part,)))
    assert f"(TPOT): {words}" in plain(tpot_html(timed, opened=False))


def test_parts_in_words() -> None:
    assert parts_words(True, [0, 1, 2, 5], False) == "embedding, layers 0–2, layer 5"
    assert parts_words(False, [], True) == "head"


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("4 x A41", "no GPU type is called 'A41'"),
        ("0 x A40", "0 GPUs"),
        ("", "the field Other devices is empty"),
    ],
)
def test_bad_devices_are_a_sentence_beside_the_control(typed: str, sentence: str) -> None:
    explorer = device_map_explorer(SMALL, "2 x A40", tokens=2048)
    before = table(explorer)
    explorer.controls.devices.list.value = OTHER_DEVICES
    explorer.controls.devices.text.value = typed
    assert sentence in slot(explorer, "devices")
    assert (greyed(explorer), table(explorer)) == (True, before)
    assert "the last result: smollm2-135m on GPU 0 (A40)" in words(explorer)
    assert explorer.load.button.disabled
    explorer.controls.devices.text.value = "1 x L4"
    assert (greyed(explorer), slot(explorer, "devices")) == (False, "")
    assert "GPU 0 (L4)" in table(explorer)


def test_bad_numbers_and_models_are_sentences_beside_their_controls() -> None:
    explorer = device_map_explorer(SMALL, "2 x A40", tokens=2048)
    controls = explorer.controls
    before = table(explorer)
    controls.tokens.field.value = "12k"
    assert "tokens '12k' is not a whole number" in slot(explorer, "tokens")
    controls.batch.field.value = "0"
    assert "batch 0 is out of range" in slot(explorer, "batch")
    controls.host.value = "-1"
    assert "host memory cannot be -1 GiB" in slot(explorer, "devices")
    controls.model.list.value = OTHER_MODEL
    controls.model.text.value = "smollm3-135"
    assert "smollm3-135" in slot(explorer, "model")
    assert (greyed(explorer), table(explorer)) == (True, before)
    controls.model.list.value = SMALL
    controls.tokens.field.value, controls.batch.field.value, controls.host.value = "4096", "2", "32"
    assert not greyed(explorer)
    assert "4,096 tokens × batch 2" in words(explorer)
    assert all(widget.value == "" for widget in controls.slots.values())


def test_a_limit_below_one_layer_is_the_cores_sentence_at_the_map() -> None:
    explorer = device_map_explorer("llama-3.1-70b", "1 x A40", tokens=2048)
    before = table(explorer)
    explorer.controls.limits.sliders[0].value = 1.0
    assert "too little for one layer: model.layers." in slot(explorer, "map")
    assert (greyed(explorer), table(explorer)) == (True, before)
    explorer.controls.limits.reset.click()
    assert (greyed(explorer), slot(explorer, "map")) == (False, "")


def test_a_bad_first_value_shows_no_picture_and_recovers() -> None:
    explorer = device_map_explorer("no-such-model", "2 x A40")
    assert explorer.result() is None
    assert "no-such-model" in slot(explorer, "model")
    assert "run this cell in JupyterLab" in explorer._repr_mimebundle_()["text/plain"]
    explorer.controls.model.list.value = SMALL
    assert explorer.result() is not None


def test_what_a_reader_types_is_text(tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    (folder / "config.json").write_bytes(Path(CONFIGS, f"{SMALL}.json").read_bytes())
    explorer = device_map_explorer(str(folder), "1 x A40", tokens=512)
    assert explorer.result() is not None
    explorer.controls.devices.list.value = OTHER_DEVICES
    explorer.controls.devices.text.value = "<script>alert(1)</script>"
    pages = [explorer.html, *(widget.value for widget in explorer.controls.slots.values())]
    pages.append(explorer._repr_mimebundle_()["text/html"])
    for page in pages:
        assert not Elements(page).seen & {"script", "img"}
    assert "<script>" in slot(explorer, "devices")


def test_there_is_a_text_for_who_does_not_see_the_picture() -> None:
    explorer = device_map_explorer("mixtral-8x7b", "2 x A40", tokens=8192)
    spoken = re.findall(r'class="tower" role="img" aria-label="([^"]+)"', explorer.html)
    assert len(spoken) == 4
    assert spoken[0].startswith("GPU 0: embedding, layers 0–14. weights 43.")
    assert "does not fit" in spoken[0]
    assert spoken[3].startswith("disk: nothing of the model")


def test_on_a_kernels_loop_it_says_that_it_computes_and_the_newest_wins() -> None:
    async def kernel() -> None:
        explorer = device_map_explorer(SMALL, "2 x A40", tokens=2048)
        assert "computing…" in plain(explorer.status.value)
        assert explorer._columns.value == ""
        explorer.controls.tokens.field.value = "1024"
        while explorer._last is None or WAITING in explorer.results._dom_classes:
            await asyncio.sleep(0.02)
        assert "1,024 tokens" in plain(explorer._columns.value)
        assert plain(explorer.status.value) == ""

    asyncio.run(asyncio.wait_for(kernel(), 60))


def test_imagined_devices_are_never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "dispatch_twin", lambda *_, **__: pytest.fail("loaded"))
    explorer = device_map_explorer(SMALL, "2 x A40", tokens=512)
    assert explorer.load.button.disabled
    assert "These devices are imagined" in explorer.load.button.tooltip
    assert "These devices are imagined" in plain(explorer.load.words.value)
    explorer.load.button.click()
    assert not explorer.load.loaded


def test_what_does_not_hold_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "dispatch_twin", lambda *_, **__: pytest.fail("loaded"))
    real = replace(imagined_devices("2 x A40"), imagined=False)
    button = load_module.LoadHere()
    button.offer(explore(Asked("mixtral-8x7b", real, 8192, 1, "bfloat16", "balanced", None)))
    assert button.button.disabled
    assert "Not loaded, because it would run out of memory: GPU 0 lacks 2." in plain(button.words.value)
    button.button.click()
    assert not button.loaded
    button.offer(explore(Asked("mixtral-8x7b", real, 8192, 1, "bfloat16", FITTING, None)))
    assert not button.button.disabled


def test_loads_the_small_model_here_and_releases_it(here: DeviceMapExplorer) -> None:
    result = here.result()
    assert result is not None
    main = "cpu" if not result.asked.devices.gpus else 0
    assert not here.load.button.disabled
    here.load.button.click()
    assert here.load.loaded
    assert here.load.button.description == f"Release {SMALL}"
    report = plain(here.load.report.value)
    held = format_gib(result.fit.placement.bytes_by_device[main])
    assert f"{held} {held} the same" in report
    here.controls.tokens.field.value = "1024"  # what is loaded stays
    assert here.load.loaded
    here.load.button.click()
    assert not here.load.loaded
    assert (here.load.button.description, here.load.report.value) == ("Load it here", "")


def test_loads_on_host_and_disk_and_leaves_nothing(
    here: DeviceMapExplorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    for slider in here.controls.limits.sliders.values():
        slider.value = 0.0
    here.controls.limits.sliders["cpu"].value = 0.2
    result = here.result()
    assert result is not None
    on_disk = result.fit.placement.bytes_by_device["disk"]
    assert on_disk > 0
    killed = [sys.executable, "-c", OTHER_KERNEL, str(tmp_path), "die"]
    subprocess.run(killed, stdout=subprocess.DEVNULL, check=False)
    here.load.button.click()
    assert here.load.loaded, here.load.report.value
    written = sum(file.stat().st_size for file in tmp_path.rglob("*.dat"))
    assert written == on_disk
    assert plain(here.load.report.value).count("the same") == len(result.fit.devices.all)
    here.load.button.click()
    assert list(tmp_path.iterdir()) == []


OTHER_KERNEL = """
import os, signal, sys, tempfile, time
from pathlib import Path
from workshop_utils.parallel.big_model.offload_folder import take_offload_folder
folder = Path(tempfile.mkdtemp(prefix="explorer-", dir=sys.argv[1]))
take_offload_folder(folder, ["a"], 10)
(folder / "a.dat").write_bytes(b"half")
print(folder, flush=True)
time.sleep(60) if sys.argv[2] == "wait" else os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_kernel_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "explorer-mine").mkdir()
    (tmp_path / "explorer-mine" / "a.dat").write_bytes(b"not of an explorer")
    start = [sys.executable, "-c", OTHER_KERNEL, str(tmp_path)]
    killed = subprocess.run([*start, "die"], stdout=subprocess.PIPE, text=True, check=False)
    with subprocess.Popen([*start, "wait"], stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout
        kept = Path(living.stdout.readline().strip())
        assert (Path(killed.stdout.strip()) / "a.dat").exists()
        load_module.remove_abandoned(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([kept, tmp_path / "explorer-mine"])
        assert (kept / "a.dat").exists()
        living.kill()
    load_module.remove_abandoned(tmp_path)
    assert [file.name for file in tmp_path.rglob("*")] == ["explorer-mine", "a.dat"]


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory. <b>Tried</b>\nmore"), OSError(28, "No space")]
)
def test_a_failed_load_is_a_sentence_and_leaves_nothing(
    here: DeviceMapExplorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    monkeypatch.setattr(load_module, "dispatch_twin", fail)
    here.controls.limits.sliders["cpu"].value = 0.2
    here.load.button.click()
    assert not here.load.loaded
    assert unescape(re.sub("<[^>]+>", "", here.load.report.value)) == "✗ " + str(error).partition("\n")[0]
    assert list(tmp_path.iterdir()) == []
    assert not here.load.button.disabled
    assert here.result() is not None


def test_importing_it_takes_no_torch() -> None:
    code = (
        "import sys, workshop_utils.widgets.device_map_explorer; "
        "sys.exit(bool({'torch', 'transformers', 'accelerate'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
