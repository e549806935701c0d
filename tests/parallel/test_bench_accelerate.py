"""``workshop bench accelerate`` as a reader types it: real processes, the small real model, and bad input."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.measurement import load_measurements
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.big_model import bench_accelerate_command as command
from workshop_utils.parallel.big_model.bench_accelerate_case import (
    AccelerateCase,
    capped,
    case_from_json,
    default_placements,
    place,
)
from workshop_utils.parallel.big_model.bench_accelerate_result import AccelerateFigures, predict
from workshop_utils.parallel.big_model.devices import DISK, HOST, imagined_devices
from workshop_utils.parallel.big_model.own_strategies import own_cases

SMALL = ["--model", "smollm2-135m", "--tokens", "16", "--new", "4", "--repeats", "1", "--device", "cpu"]
EIGHT = BenchCase("plain", "llama-3.1-8b", twin=True, tokens=128, new=32)


@pytest.mark.usefixtures("small_model")
def test_a_share_on_the_disk_says_the_same_and_is_recorded(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    words = [
        *SMALL,
        "--dtype",
        "float32",
        "--check",
        "--placements",
        "disk50",
        "--cold-load",
        "--out",
        str(out),
    ]
    started = [sys.executable, "-m", "workshop_utils", "bench", "accelerate", *words, "--json"]
    folder = ["--offload-folder", str(tmp_path / "offload")]
    done = subprocess.run([*started, *folder], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "_pytree" not in done.stderr  # what torchao tells its own developers
    alone, half = json.loads(done.stdout)
    assert (alone["layers"], half["layers"]) == ({"cpu": 30}, {"cpu": 15, "disk": 15})
    assert half["greedy_tokens_equal"] is True
    # 15 layers, the final norm that stands behind them, 4 bytes a value.
    layer = 576 * (576 + 192) * 2 + 576 * 1536 * 3 + 2 * 576
    moved = (15 * layer + 576) * 4
    assert half["moved_bytes_per_token"] == half["predicted_peak_bytes"]["disk"] == moved
    assert alone["moved_bytes_per_token"] == 0
    assert half["ttft_ms"] > 0 < half["tpot_ms"]
    assert half["predicted_tpot_ms"] > alone["predicted_tpot_ms"] > 0
    assert 0 < half["peak_bytes"]["cpu"] < alone["peak_bytes"]["cpu"]
    assert half["load"]["bytes"] == alone["load"]["bytes"] > 134_515_008 * 2
    assert not (tmp_path / "offload").exists()
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    (tmp_path / "runs.json").write_text(json.dumps(rows), encoding="utf-8")
    loaded = load_measurements(tmp_path / "runs.json")
    assert [one.settings["placement"] for one in loaded] == ["one", "disk50"]
    assert loaded[1].bytes_of("moved_per_token") == moved
    assert loaded[1].bytes_of("predicted_peak_disk") == moved
    assert loaded[0].values["load_gb_per_s"].unit == "GB/s"
    assert loaded[0].versions["accelerate"]


def test_placements_are_compared_in_a_table() -> None:
    devices = imagined_devices("1 x A40")
    runs = []
    for name, tpot in (("one", 27.0), ("disk50", 4000.0)):
        given, placement = place(name, devices, EIGHT)
        case = AccelerateCase(name, dict(placement.modules), EIGHT)
        run = {
            "ttft_ms": [30.0, 50.0, 40.0], "tpot_ms": [tpot], "tokens": [[1, 2]], "hardware": "a GPU",
            "peak_bytes": {"0": 17 * 10**9, "cpu": 10**9}, "moved_bytes": placement.offloaded_bytes,
            "disk_bytes_per_token": 10**9, "load_seconds": 9.0, "load": None,
        }  # fmt: skip
        runs.append(AccelerateFigures(case, predict(case, given, placement), run, [[1, 2 + len(runs)]]))
    table = command.all_tables(runs, [])  # without --beside
    lines = table.splitlines()
    assert lines[0] == "llama-3.1-8b, batch 1, 128 + 32 tokens, bfloat16 on a GPU"
    assert re.search(
        r"^one +32 on 0 +37\.04 +40\.0 +27\.00 .* 0: 17\.0 GB, cpu: 1\.0 GB .* nothing$", lines[3]
    )
    assert re.search(r"^disk50 +16 on 0 \+ 16 on disk +0\.25 .* 8\.0 GB$", lines[4])
    assert "disk50: 1.0 GB a token really came from the disk, the rest of 8.0 GB from the page cache" in table
    assert "one: the same tokens as" in table
    assert "disk50: other tokens than" in table


@pytest.mark.parametrize(
    ("name", "text", "layers"),
    [
        ("one", "2 x H100-80GB", {0: 32}),
        # Balanced, and not even: the embedding stands on the first GPU.
        ("split", "2 x H100-80GB", {0: 14, 1: 18}),
        ("cpu25", "2 x H100-80GB", {0: 24, HOST: 8}),
        ("cpu50", "1 x A40", {0: 16, HOST: 16}),
        ("cpu75", "1 x A40", {0: 8, HOST: 24}),
        ("disk50", "1 x A40", {0: 16, DISK: 16}),
        ("disk25", "none", {HOST: 24, DISK: 8}),
        ("fit", "4 x RTX-2080Ti", {0: 16, 1: 16}),
    ],
)
def test_placements_are_accelerates_own_maps(name: str, text: str, layers: dict[int | str, int]) -> None:
    given, placement = place(name, imagined_devices(text), EIGHT)
    homes = placement.layers
    assert {home: homes.count(home) for home in dict.fromkeys(homes)} == layers
    assert placement.embedding == given.main.key
    # The head stands behind the last layer, so it is offloaded with it.
    assert placement.head == homes[-1]


def test_what_is_predicted_of_an_offload() -> None:
    devices, placement = place("cpu50", imagined_devices("1 x H100-80GB"), EIGHT)
    case = AccelerateCase("cpu50", dict(placement.modules), EIGHT)
    assert case_from_json(case.as_json()).as_json() == case.as_json()
    found = predict(case, devices, placement)
    assert found.peak_bytes[HOST] == placement.bytes_by_device[HOST]
    assert found.peak_bytes[0] > placement.bytes_by_device[0] + placement.largest_moved_bytes
    assert found.tpot.ms > 100 > predict(case, *place("one", devices, EIGHT)).tpot.ms


def test_every_machine_has_its_placements() -> None:
    assert default_placements(0) == ("one", "disk50")
    assert "split" in default_placements(2)
    assert "split" not in default_placements(1)


def test_gpus_can_be_made_smaller() -> None:
    small = capped(imagined_devices("2 x H100-80GB"), [12.0])
    assert [gpu.free_bytes for gpu in small.gpus] == [12 * 2**30]
    with pytest.raises(WorkshopError, match=r"names 3 GPUs and 2 are here; give at most 2"):
        capped(imagined_devices("2 x A40"), [12.0] * 3)
    with pytest.raises(WorkshopError, match=r"nan GiB of GPU 0 \(A40\) cannot be had"):
        capped(imagined_devices("1 x A40"), [float("nan")])
    with pytest.raises(WorkshopError, match=r"99 GiB of GPU 0 \(A40\) cannot be had, 44\.\d GiB are free"):
        capped(imagined_devices("1 x A40"), [99.0])


REFUSED = [
    ([*SMALL, "--placements", "sideways"], r"placement 'sideways' is not one of one, split, fit, cpu25"),
    ([*SMALL, "--placements", "disk0"], r"placement 'disk0' is not one of"),
    ([*SMALL, "--placements", "cpu50"], r"there is none; the CPU itself can offload to the disk: disk50"),
    ([*SMALL, "--placements", "split"], r"split needs two GPUs and 0 may be used; choose one or disk50"),
    ([*SMALL, "--gpus", "2"], r"--gpus 2 is out of range; leave it out"),
    ([*SMALL, "--cap-gib", "12"], r"--cap-gib names 1 GPUs and 0 are here; leave it out, there is none"),
    ([*SMALL, "--batch", "0"], r"batch 0 is out of range"),
    ([*SMALL, "--twin", "--cold-load"], r"--cold-load times the files of a checkpoint, and a twin has none"),
    ([*SMALL[:2], "--tokens", "9000", "--device", "cpu"], r"9000 \+ 32 tokens are more than the 8,192"),
    (["--model", "llama-3.1-8b", "--device", "cpu"], r"no weights of llama-3.1-8b are here; add --twin"),
    (["--model", "llama-3.1-405b-x", "--device", "cpu"], r"no model 'llama-3.1-405b-x'"),
]  # fmt: skip


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(words[-2:]) for words, _ in REFUSED])
def test_what_cannot_be_run_is_said_before_anything_starts(words: list[str], message: str) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    with pytest.raises(WorkshopError, match=message):
        command.run(parser.parse_args(words))


def test_what_will_not_hold_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "devices_here", lambda folder: imagined_devices("none", host_gib=64))
    parser = argparse.ArgumentParser()
    command.configure(parser)
    words = ["--model", "llama-3.1-70b", "--twin", "--placements", "one", "--device", "cpu"]
    with pytest.raises(
        WorkshopError, match=r"need 131\.\d GiB of host memory, which has 64\.0 GiB free; choose fit"
    ):
        command.run(parser.parse_args(words))


@pytest.mark.parametrize(
    ("name", "step"), [("disk50", ", or choose a smaller share, for example disk25."), ("disk1", ".")]
)
def test_a_full_disk_says_what_helps_a_disk(name: str, step: str, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    arguments = parser.parse_args([*SMALL, "--offload-folder", str(tmp_path / "offload")])
    with pytest.raises(WorkshopError) as refused:
        command.planned_case(name, imagined_devices("1 x A40", disk_gb=0.02), EIGHT, arguments)
    assert f"of the disk of {tmp_path}/offload, which has 19.1 MiB free; " in str(refused.value)
    assert str(refused.value).endswith(f"free; name an --offload-folder on another disk{step}")


def test_a_full_host_says_what_helps_a_host() -> None:
    with pytest.raises(WorkshopError, match=r"4\.0 GiB of host .* for example cpu25, or the disk: disk50\."):
        place("cpu50", imagined_devices("1 x A40", host_gib=4), EIGHT)


@pytest.mark.usefixtures("small_model")
def test_a_bad_offload_folder_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "run_case", lambda *_: pytest.fail("started"))
    (tmp_path / "index.json").write_text("{}", encoding="utf-8")
    (tmp_path / "file").write_bytes(b"")
    parser = argparse.ArgumentParser()
    command.configure(parser)
    for folder, sentence in (
        (tmp_path, "already has index.json"),
        (tmp_path / "file", "file is a file; name another"),
        (tmp_path / "file" / "x", r"cannot be made, because \S+/file is a file; name another"),
        (Path("/proc/offload"), "cannot write in /proc"),
    ):
        words = [*SMALL, "--placements", "disk50", "--offload-folder", str(folder)]
        with pytest.raises(WorkshopError, match=sentence):
            command.run(parser.parse_args(words))


@pytest.mark.parametrize("text", ["-3", "0", "nan", "inf", "soon"])
def test_a_time_that_nobody_can_wait_for_is_refused_at_once(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([*SMALL, f"--timeout={text}"])
    assert f"--timeout: {text!r} is no time to wait; give seconds, for example 540" in capsys.readouterr().err


@pytest.mark.usefixtures("small_model")
def test_our_own_strategies_stand_beside_the_maps(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    words = [*SMALL, "--dtype", "float32", "--check", "--placements", "one", "--beside", "pipeline"]
    started = [sys.executable, "-m", "workshop_utils", "bench", "accelerate", *words, "--out", str(out)]
    done = subprocess.run([*started, "--json"], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    alone, own = json.loads(done.stdout)
    assert (alone["placement"], own["strategy"], own["ranks"]) == ("one", "pipeline", 2)
    assert own["greedy_tokens_equal"] is True
    assert (own["batch"], own["tokens"], own["new"]) == (alone["batch"], alone["tokens"], alone["new"])
    assert [run.settings["strategy"] for run in load_measurements(out)] == ["plain", "pipeline"]


@pytest.mark.parametrize(
    ("names", "message"),
    [(("data",), "--beside 'data' is not one of tensor, pipeline"), (("tensor",), "choose 1, 3")],
)
def test_what_cannot_stand_beside_them_is_told_before_anything_runs(
    names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(WorkshopError, match=message):
        own_cases(names, BenchCase("plain", "smollm2-135m", twin=True), 0, "cpu")
