"""Notebook 07: maps in words, what is fetched for a token, recorded maps, and what commands start."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from workshop_utils.figures.token_path import Step, token_path_figure
from workshop_utils.lessons import accelerate_launch, accelerate_offload, accelerate_quantised
from workshop_utils.lessons.accelerate_maps import (
    bytes_by_device,
    kinds_table,
    map_table,
    parts_by_device,
    shape_config,
    size_words,
    torn_layers,
)
from workshop_utils.lessons.accelerate_offload import (
    Decoded,
    cost_table,
    decode,
    lesson_folder,
    plan_table,
)
from workshop_utils.lessons.accelerate_quantised import quantised_table
from workshop_utils.lessons.accelerate_quiet import quiet_accelerate
from workshop_utils.lessons.accelerate_recorded import (
    ACCELERATE,
    beside_tensor_parallel,
    cold_load,
    key_of,
    load_placements,
    placements_table,
    split_table,
)
from workshop_utils.lessons.accelerate_speeds import Speeds, measure_speeds
from workshop_utils.lessons.accelerate_token import token_figure, token_table
from workshop_utils.lessons.script_view import script
from workshop_utils.lessons.token_log import Unit, one_token, parents, units_of
from workshop_utils.measure.measurement import load_measurements
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.speed import speeds

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
MOST_LINES = 35
TINY = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 128, "pad_token_id": 2,
}  # fmt: skip


def tiny_model(tied: bool = True) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=tied)).eval()


def on_disk(tmp_path: Path, layers: int = 2) -> tuple[Any, Any, dict[str, str]]:
    """Return a tiny model, the same with its last layers on the disk, and the map."""
    from accelerate import dispatch_model

    whole, placed = tiny_model(), tiny_model()
    names = ["model.embed_tokens", "lm_head", *(f"model.layers.{n}" for n in range(4)), "model.norm"]
    away = {f"model.layers.{n}" for n in range(4 - layers, 4)}
    modules = {name: "disk" if name in away else "cpu" for name in [*names, "model.rotary_emb"]}
    return whole, dispatch_model(placed, modules, offload_dir=tmp_path / "away"), modules


def test_a_map_is_told_in_runs_of_layers() -> None:
    layers = {f"model.layers.{n}": 0 if n < 2 or n == 3 else "disk" for n in range(5)}
    modules = {"model.embed_tokens": 0, **layers, "model.norm": "disk", "model.rotary_emb": "disk"}
    assert parts_by_device(modules) == {0: "layers 0–1, layer 3, embedding", "disk": "layer 2, layer 4, norm"}
    assert torn_layers(modules) == ()
    torn = {"model.layers.0.mlp": 0, "model.layers.0.self_attn": "cpu", "model.layers.1": "cpu"}
    assert torn_layers(torn) == (0,)
    assert parts_by_device(torn) == {0: "mlp of layer 0", "cpu": "layer 1, self_attn of layer 0"}
    assert parts_by_device({"": "disk"}) == {"disk": "everything"}


def test_tied_weights_count_once() -> None:
    tied, single = tiny_model(), tiny_model(tied=False)
    assert bytes_by_device(tied, {"": 0})[0] == sum(p.nbytes for p in tied.parameters())
    assert bytes_by_device(single, {"": 0})[0] - bytes_by_device(tied, {"": 0})[0] == 128 * 64 * 4
    table = map_table(tied, {"model.embed_tokens": 0, "lm_head": 0, "model": "cpu"}, "Not run.")
    assert table.rows[0] == ("GPU 0", "embedding, head", "0 MB")
    assert table.caption.endswith("in all. Not run.")


def test_sizes_below_a_gigabyte_are_in_megabytes() -> None:
    assert (size_words(354_000_000), size_words(141.1e9)) == ("354 MB", "141.1 GB")


def test_the_config_of_a_catalogue_model_needs_no_hub() -> None:
    config = shape_config("llama-3.1-70b")
    assert (config.model_type, config.num_hidden_layers) == ("llama", 80)


def test_the_kinds_of_map_differ_and_are_marked_as_not_run() -> None:
    rows = {row[1]: row for row in kinds_table("llama-3.1-70b", "4 x A40").rows}
    assert list(rows) == ["balanced", "balanced_low_0", "sequential"]
    assert rows["balanced_low_0"][2].startswith("0.0 +")
    assert rows["balanced_low_0"][3] == "2.1 GB (the head)"  # the notebook's text says so
    assert rows["balanced"][3] == rows["sequential"][3] == "nothing"
    assert "planned, not run here" in kinds_table("llama-3.1-70b", "2 x A40").caption


def test_one_token_is_noted_and_the_model_is_as_before(tmp_path: Path) -> None:
    import torch

    whole, placed, modules = on_disk(tmp_path)
    ids = torch.tensor([[3, 4, 5]])
    hooks = [module._hf_hook for module in placed.modules() if hasattr(module, "_hf_hook")]
    units = {unit.name: unit for unit in one_token(placed, ids)}
    assert list(units) == ["embedding", "0", "1", "2", "3", "norm", "head"]
    layer = bytes_by_device(whole, modules)["disk"] // 2
    assert [unit.fetched_bytes for unit in units.values()] == [0, 0, 0, layer, layer, 0, 0]
    assert all((unit.fetch_ms > 0) == (unit.home == "disk") for unit in units.values())
    assert all(unit.total_ms >= unit.fetch_ms and unit.moved_bytes == 0 for unit in units.values())
    assert hooks == [module._hf_hook for module in placed.modules() if hasattr(module, "_hf_hook")]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in placed.modules())
    assert decode(placed, ids).tokens == decode(whole, ids).tokens


def test_hidden_states_that_change_the_device_are_counted() -> None:
    import torch
    from accelerate.hooks import AlignDevicesHook

    from workshop_utils.lessons.token_log import NotingHook

    unit = Unit("0", 1)
    NotingHook(AlignDevicesHook(execution_device="meta"), unit).pre_forward(
        torch.nn.Identity(), torch.ones(1, 1, 64)
    )
    assert (unit.moved_bytes, unit.fetched_bytes) == (256, 0)


def test_units_know_their_home_from_a_whole_part_of_the_map() -> None:
    units = units_of(tiny_model(), {"model": 0, "lm_head": "cpu"})
    assert [unit.home for unit in units.values()] == [0] * 6 + ["cpu"]
    assert list(parents("model.layers.1")) == ["model.layers.1", "model.layers", "model"]


def test_the_token_is_drawn_with_its_homes() -> None:
    units = [
        Unit("embedding", 0, 1.0), Unit("0", 0, 2.0), Unit("1", "disk", 5.0, 4.0, 10**7),
        Unit("2", "disk", 5.0, 4.0),
    ]  # fmt: skip
    picture = token_figure(units)
    assert "GPU 0 3 ms at work, 0 ms waiting for weights; disk 2 ms at work, 8 ms" in repr(picture)
    (axes,) = picture.figure.axes
    assert [text.get_text() for text in axes.texts] == ["GPU 0", "disk"]
    assert picture._repr_png_().startswith(b"\x89PNG")
    rows = token_table(units).rows
    assert rows[1][:3] == ("disk", "10 MB", "8 ms")


def test_a_region_of_one_step_has_no_room_for_its_name() -> None:
    steps = [Step("0", "GPU 0", 1, 0), Step("1", "GPU 0", 1, 0), Step("norm", "disk", 1, 0)]
    (axes,) = token_path_figure(steps, title="", note="").figure.axes
    assert [text.get_text() for text in axes.texts] == ["GPU 0"]


def test_speeds_add_up_on_the_way() -> None:
    speeds = Speeds(cached=10e9, disk=1e9, to_gpu=20e9)
    assert (speeds.ms("disk", 10**9), speeds.ms("cpu", 10**9), speeds.ms(0, 10**9)) == (150, 50, 0)
    assert Speeds(10e9, None, None).ms("cpu", 10**9) == 0


def test_the_costs_stand_beside_what_was_expected(tmp_path: Path) -> None:
    whole, placed, modules = on_disk(tmp_path)
    away = bytes_by_device(whole, modules)["disk"]
    speeds = Speeds(cached=away * 10, disk=None, to_gpu=None)  # a tenth of a second for all
    in_place, run = Decoded((1, 2), (10.0, 30.0)), Decoded((1, 3), (200.0, 240.0))
    table = cost_table(placed, modules, speeds, in_place, {"map": run})
    assert table.rows[1] == ("map", size_words(away), "120 ms", "220 ms", "11.0 ×", "no")
    plan = plan_table(placed, modules, speeds, in_place)
    assert [row[0] for row in plan.rows] == ["host memory", "disk"]
    assert plan.rows[0][3] == "stays there"
    assert "a token takes 20 ms" in plan.caption


def test_the_speed_of_reading_is_measured(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(bytes(3 * 10**6))
    speeds = measure_speeds(tmp_path)
    assert speeds.cached > 0
    assert speeds.disk is None or speeds.disk > 0


def test_the_lesson_folder_is_new_and_those_of_dead_kernels_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    monkeypatch.setattr(accelerate_offload.psutil, "pid_exists", lambda number: number == os.getpid())
    mine = lesson_folder()
    host = mine.name.partition(f"-{os.getpid()}-")[0]
    dead, elsewhere = tmp_path / f"{host}-1-x", tmp_path / "notebook-07-another-1-x"
    for folder in (dead, elsewhere):
        folder.mkdir()
    assert lesson_folder() != mine
    assert (mine.exists(), dead.exists(), elsewhere.exists()) == (True, False, True)


def test_every_tier_gets_limits_below_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limits in accelerate_offload.TIGHT.items():
        sizes = [int(size.removesuffix("MB")) for size in limits.values()]
        assert sum(sizes) < 538, name
        assert all(isinstance(key, int) or key == "cpu" for key in limits)


def test_neither_bars_of_shards_nor_remarks_of_the_profiler_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from accelerate.utils import modeling
    from safetensors.torch import save_file
    from torch.profiler import profiler

    file = str(tmp_path / "shard.safetensors")
    save_file({"a.weight": torch.ones(1), "b.weight": torch.ones(1)}, file, metadata={"format": "pt"})
    monkeypatch.setattr(modeling, "is_tqdm_available", lambda: True)
    monkeypatch.setattr(profiler, "_WARNINGS_SHOWN", set())
    places = {"a": "cpu", "b": "disk"}
    modeling.load_state_dict(file, device_map=places)
    assert "w/s" in capsys.readouterr().err
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        quiet_accelerate()
        modeling.load_state_dict(file, device_map=places)
        profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        for _ in range(2):  # torch 2.13 remarks on the second run, 2.11 on the first
            profile.start()
            profile.stop()
    assert "w/s" not in capsys.readouterr().err
    assert any("acc_events" in text for text in profiler._WARNINGS_SHOWN)
    assert [str(one.message) for one in seen if "acc_events" in str(one.message)] == []


def test_recorded_maps_stand_predicted_beside_measured() -> None:
    runs = load_placements(RECORDED)
    table = placements_table(runs)
    assert len(table.rows) == len(runs) == len(load_measurements(RECORDED / ACCELERATE))
    half = next(row for row in table.rows if row[1] == "50 % of the layers in host memory")
    assert half[2:7] == ("1 × 128", "8.0 GB", "9.15", "9.13", "848")
    assert half[7] == f"{runs[2].values['tpot'].value:.0f}"
    split = next(row for row in table.rows if row[1] == "layers split over two GPUs")
    assert split[3:6] == ("nothing", "2.56 + 2.49", "2.56 + 2.49")
    assert [row[-1] for row in table.rows if "one GPU" in row[1]] == ["1 ×", "1 ×"]
    # What ran on another text has no run on one GPU to be compared with.
    fitted = [row for row in table.rows if row[1].startswith("map fitted to")]
    assert (len(fitted), {row[-1] for row in fitted}) == (18, {"–"})
    assert "map fitted to 11 + 11 GB" in [row[1] for row in fitted]


def test_times_of_other_hardware_are_never_compared() -> None:
    runs = load_placements(RECORDED)
    elsewhere = [replace(run, hardware="another GPU") for run in runs if run.settings["placement"] == "one"]
    assert not {key_of(run) for run in elsewhere} & {key_of(run) for run in runs}
    assert "NVIDIA H200" in placements_table(runs[:1]).caption
    split = split_table(RECORDED)
    assert [row[-2:] for row in split.rows] == [("29.8", "1 ×"), ("17.1", "0.57 ×")]
    assert "H100" in split.caption
    assert "H200" not in split.caption


def test_what_else_was_recorded_is_said_with_its_figures() -> None:
    assert "took 25 s at 1.44 GB/s; the disk alone gave 1.53 GB/s (recorded on NVIDIA H200" in cold_load(
        RECORDED
    )
    said = beside_tensor_parallel(RECORDED)
    assert "Accelerate's map over both took 169 ms a token in a first answer" in said
    assert "tensor parallel 6.6 ms, one GPU in it 11.8 ms" in said


def test_the_text_of_the_notebook_quotes_the_table_and_the_constants() -> None:
    notebook = nbformat.read(RECORDED.parent / "07_accelerate.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    rows = {(row[0], row[1]): row for row in placements_table(load_placements(RECORDED)).rows}
    half = rows["llama-3.1-8b, bfloat16", "50 % of the layers in host memory"]
    split = rows["llama-3.2-1b, float32", "layers split over two GPUs"]
    assert f"{half[3]} a token cost {half[-1]}" in text
    assert f"takes {split[-1]} as long" in text
    hook, copies, length = (speeds()[name] for name in ("hook_ms", "host_gb_per_s", "new_length_ms"))
    assert f"hooks add {hook['others'][0]['value']:.1f} ms a layer" in text
    assert f"{copies['value']} GB/s, we had assumed 10" in text
    least, most = length["in_fitted_maps_ms"]
    assert f"costs {least} to {most} ms more on each GPU" in text
    by_default, without = load_measurements(RECORDED / "new_lengths_one_h200.json")
    first, second = (without.values[name].value for name in ("first_tpot", "second_tpot"))
    assert first == pytest.approx(second, rel=0.05)
    assert f"took {first:.1f} ms instead of {by_default.values['first_tpot'].value:.1f}" in text
    runs = load_placements(RECORDED)
    gpus = [(run, key) for run in runs for key in run.settings["layers"] if key.isdigit()]
    off = [
        run.values[f"peak_{key}"].value / run.values[f"predicted_peak_{key}"].value - 1 for run, key in gpus
    ]
    assert max(map(abs, off)) < 0.003
    assert "predicted within 0.3 %" in text


def test_without_the_libraries_a_sentence_says_what_is_missing(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerate_quantised, "find_spec", {}.get)
    table = quantised_table()
    assert [row[2] for row in table.rows] == ["269 MB", "not run here", "not run here"]
    assert "`pip install torchao bitsandbytes`" in table.caption
    assert table.rows[0][1] == table.rows[0][2] == "269 MB"


@pytest.mark.slow
def test_in_8_bits_the_weights_hold_what_was_expected(small_model: Path) -> None:
    model = accelerate_quantised.load_in("int8")
    expected = estimate(find_architecture("smollm2-135m"), tokens=1, dtype="int8").weights_bytes
    assert accelerate_quantised.held_bytes(model) == expected == 163_483_776
    row = next(row for row in quantised_table().rows if row[0].startswith("int8"))
    assert row[1] == row[2] == "163 MB"
    assert row[3].endswith(" ms")


def test_what_accelerate_config_would_write_is_shown_and_not_kept() -> None:
    rows = dict(accelerate_launch.config_table().rows)
    assert set(rows) == set(accelerate_launch.SHOWN_SETTINGS)


@pytest.mark.slow
def test_cpu_with_two_processes_starts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerate_launch, "device_of_ranks", lambda: "cpu")
    rows = accelerate_launch.launch_table().rows
    assert [row[1] for row in rows] == ["1", "2", "2"]
    assert "process 0 of 1: prompts [0, 1, 2, 3, 4, 5, 6, 7]" in rows[0][2]
    assert all("process 1 of 2: prompts [4, 5, 6, 7]" in row[2] for row in rows[1:])


def test_a_command_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = (("python", ("-c", "raise SystemExit(1)"), ()),)
    monkeypatch.setattr(accelerate_launch, "COMMANDS", commands)
    monkeypatch.setattr(accelerate_launch, "device_of_ranks", lambda: "cpu")
    assert accelerate_launch.launch_table().rows[0][1:] == ("0", "nothing: it failed")


def test_a_launch_that_fails_beside_others_is_tried_once_more_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    second_time = (
        "import os, pathlib, sys; mark = pathlib.Path(os.environ['HF_HOME']) / 'tried'; "
        "tried = mark.exists(); mark.touch(); print('process 0 of 1') if tried else sys.exit(1)"
    )
    monkeypatch.setattr(accelerate_launch, "COMMANDS", (("python", ("-c", second_time), ()),))
    monkeypatch.setattr(accelerate_launch, "device_of_ranks", lambda: "cpu")
    assert accelerate_launch.launch_table().rows[0][1:] == ("1", "process 0 of 1")


def test_the_script_is_short_enough_to_be_shown() -> None:
    assert len(script("who_am_i.py").text.splitlines()) <= MOST_LINES
