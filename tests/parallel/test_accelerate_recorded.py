"""What two H200s did on Accelerate's maps beside what is predicted today, and the constants from it."""

from pathlib import Path
from statistics import median
from typing import Any

import pytest

from workshop_utils.measure.measurement import Measurement, load_measurements
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.bench_accelerate_case import place
from workshop_utils.parallel.big_model.devices import DISK, HOST, imagined_devices
from workshop_utils.parallel.big_model.recorded_runs import devices_of, predict_again, work_of
from workshop_utils.parallel.big_model.speed import constant, expected_tpot, new_lengths, speeds

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
RUNS = load_measurements(RECORDED / "accelerate_two_h200.json")
H200 = imagined_devices("1 x H200", host_gib=200)
PEAK_TOLERANCE = 0.05
every_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.what} on {run.hardware}")


def runs_of(wanted: dict[str, Any]) -> list[Measurement]:
    return [run for run in RUNS if wanted.items() <= run.settings.items()]


def one(wanted: dict[str, Any]) -> Measurement:
    (run,) = runs_of(wanted)
    return run


def tpot(run: Measurement) -> float:
    return run.values["tpot"].value


def depth(run: Measurement) -> int:
    return len(find_architecture(run.settings["model"]).layers)


def constant_of(name: str) -> dict[str, Any]:
    """Return the constant that was measured beside an H200; its rows are in ``from``."""
    found = constant(name, H200)
    assert found["certainty"] == "measured"
    return found


def test_all_ways_to_place_a_model_are_recorded() -> None:
    placements = [run.settings["placement"] for run in RUNS]
    assert set(placements) == {"one", "cpu25", "cpu50", "cpu75", "disk50", "split", "fit"}
    assert placements.count("fit") == 18
    assert all(run.versions["accelerate"] and run.date and run.commit for run in RUNS)
    # What was ended by its limit has no row, and each recording says which case that was.
    assert all("ended by the time limit and has no row" in run.command for run in RUNS)


def test_a_cold_checkpoint_loads_nearly_as_fast_as_its_disk_reads() -> None:
    (run,) = load_measurements(RECORDED / "cold_load_one_h200.json")
    load = run.settings["run"]["load"]
    # Nothing came from memory: the disk itself read every byte, both times.
    assert min(load["load_disk_bytes"], load["read_disk_bytes"]) >= load["bytes"] > 16e9
    assert 0.9 < load["load_gb_per_s"] / load["read_gb_per_s"] < 1.0


@every_run
def test_the_map_of_a_recorded_run_is_made_again(run: Measurement) -> None:
    placement = predict_again(run).placement
    homes = [str(home) for home in placement.layers]
    assert {home: homes.count(home) for home in homes} == run.settings["layers"]
    assert placement.hops == run.settings["hops"]
    assert sum(placement.moved_by_device.values()) == run.values["moved_per_token"].value


@every_run
def test_predicted_peaks_are_those_measured(run: Measurement) -> None:
    predicted = {str(key): size for key, size in predict_again(run).peak_bytes.items()}
    # The disk's is a size of files, which no run measures.
    compared = {key: size for key, size in predicted.items() if key != DISK}
    assert {key for key in compared if key.isdigit()} >= {
        key for key in run.settings["layers"] if key.isdigit()
    }
    for key, size in compared.items():
        assert run.values[f"peak_{key}"].value == pytest.approx(size, rel=PEAK_TOLERANCE), key


@every_run
def test_a_map_for_a_smaller_gpu_stayed_below_what_it_was_allowed(run: Measurement) -> None:
    for key, limit in run.settings["limits_bytes"].items():
        assert run.values[f"peak_{key}"].value <= run.settings["run"]["reserved_bytes"][key] <= limit


def test_in_float32_all_placements_say_the_same() -> None:
    checked = runs_of({"dtype": "float32"})
    assert [run.settings["placement"] for run in checked] == ["one", "cpu50", "disk50", "split"]
    assert len({work_of(run) for run in checked}) == 1
    tokens = [run.settings["run"]["tokens"] for run in checked]
    assert len(tokens[0][0]) == checked[0].settings["new"]
    assert all(each == tokens[0] for each in tokens)


def test_launching_and_hooks_are_those_of_the_recorded_runs() -> None:
    layer, hook = constant_of("layer_ms"), constant_of("hook_ms")
    each = [tpot(run) / depth(run) for run in map(one, layer["from"])]
    assert [min(each), max(each)] == pytest.approx([layer["lowest"], layer["highest"]], abs=0.005)
    assert layer["value"] == pytest.approx(sum(each) / len(each), abs=0.005)
    split, alone = map(one, hook["from"])
    assert hook["value"] == pytest.approx((tpot(split) - tpot(alone)) / depth(alone), abs=0.005)


@pytest.mark.parametrize("name", ["host_gb_per_s", "cached_disk_gb_per_s"])
def test_speeds_of_copies_are_those_of_the_recorded_offloads(name: str) -> None:
    found, each_layer = constant_of(name), constant_of("layer_ms")["value"] + constant_of("hook_ms")["value"]
    runs = [one(wanted) for wanted in found["from"]]
    speed = [
        run.values["moved_per_token"].value / 1e6 / (tpot(run) - each_layer * depth(run)) for run in runs
    ]
    assert found["value"] == pytest.approx(sum(speed) / len(speed), abs=0.05)
    assert min(speed) == pytest.approx(found.get("lowest", found["value"]), abs=0.05)
    assert max(speed) == pytest.approx(found.get("highest", found["value"]), abs=0.05)


def test_files_on_the_disk_were_read_from_spare_memory() -> None:
    (run,) = runs_of({"placement": "disk50"})
    assert run.settings["run"]["disk_bytes_per_token"] == 0 < run.values["moved_per_token"].value


def test_the_first_time_at_a_length_is_that_of_the_first_repeat() -> None:
    found = constant_of("new_length_ms")
    (run,) = map(one, found["from"])
    first, *others = run.settings["run"]["tpot_ms"]
    assert found["value"] == pytest.approx(first - median(others), abs=0.1)
    assert run.values["tpot"].value == pytest.approx(median(others), rel=0.02)


def test_each_gpu_with_layers_pays_for_a_new_length_in_16_bits() -> None:
    pair = imagined_devices("2 x H200", host_gib=200)
    work = work_of(one({"placement": "split"}))
    both, half = place("split", pair, work)[1], place("cpu50", pair, work)[1]
    value = constant_of("new_length_ms")["value"]
    assert new_lengths(both, pair, "bfloat16").ms == 2 * value
    assert new_lengths(half, H200, "float16").ms == value
    assert new_lengths(both, pair, "float32").ms == 0
    assert new_lengths(half, imagined_devices("1 x A40"), "float16").certainty == "assumed"


@every_run
def test_expected_times_are_nearer_than_before_these_runs(run: Measurement) -> None:
    off = abs(predict_again(run).tpot.ms / tpot(run) - 1)
    if run.values["moved_per_token"].value:
        assert off < 0.03
    # The worst: single runs that met every context length for the first time.
    assert off < (0.4 if run.settings["repeats"] == 1 and run.settings["dtype"] == "bfloat16" else 0.15)


def test_expected_times_of_first_answers_are_nearer_with_new_lengths_than_without() -> None:
    first = [run for run in RUNS if run.settings["repeats"] == 1 and run.settings["dtype"] == "bfloat16"]
    today = [abs(predict_again(run).tpot.ms / tpot(run) - 1) for run in first]
    before = [abs(run.values["predicted_tpot"].value / tpot(run) - 1) for run in first]
    assert median(today) < 0.7 * median(before)


def test_a_file_that_spare_memory_cannot_keep_comes_from_the_disk() -> None:
    run = one({"placement": "disk50"})
    devices = devices_of(run)
    given, placement = place("disk50", devices, work_of(run))
    names = []
    for gib in (200.0, 1.0):
        host = imagined_devices("1 x H200", host_gib=gib)
        parts = expected_tpot("llama-3.2-1b", placement, host, tokens=136, dtype="float32").parts
        names.append((parts[-1].name, parts[-1].certainty))
    assert names == [
        ("reading files that spare host memory keeps", "measured"),
        ("reading from the disk", "assumed"),
    ]
    assert placement.bytes_by_device[HOST] == 0
    assert given.gpus == devices.gpus[:1]


def test_beside_other_gpus_every_constant_is_assumed() -> None:
    for text in ("1 x A40", "1 x A40 + 1 x H200", "none"):
        for name in speeds():
            assert constant(name, imagined_devices(text))["certainty"] == "assumed", (text, name)


def test_what_new_lengths_cost_in_fitted_maps_is_what_their_runs_show() -> None:
    found = []
    for run in runs_of({"placement": "fit"}):
        parts = predict_again(run).tpot.parts
        assert parts[-1].name == "context lengths met for the first time"
        gpus = len(run.settings["limits_bytes"]) or 1
        found.append((tpot(run) - sum(part.ms for part in parts[:-1])) / gpus)
    assert [round(min(found)), round(max(found))] == speeds()["new_length_ms"]["in_fitted_maps_ms"]
