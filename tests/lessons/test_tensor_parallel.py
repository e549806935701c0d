"""Notebook 06: its script on ranks, its tables, and the comparison of the strategies."""

from dataclasses import replace
from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.script_view import script
from workshop_utils.lessons.strategies_table import strategies_table
from workshop_utils.lessons.tensor_parallel import (
    RANKS,
    partner,
    ranks_table,
    sent_table,
    sums_table,
    two_gpus_figure,
    two_gpus_table,
)
from workshop_utils.lessons.tier import device_of_ranks
from workshop_utils.lessons.two_h100 import H200_FILES, load_runs, note_of, one, select
from workshop_utils.measure.measurement import Measurement
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.bench_result import RunFigures
from workshop_utils.parallel.launch.launcher import launch
from workshop_utils.parallel.launch.result import RunResult
from workshop_utils.parallel.tensor import bytes_sent

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
RUNS, OURS = load_runs(RECORDED), load_runs(RECORDED, H200_FILES)
HEADER_BYTES = 4096  # gloo's own messages around a tensor: hundreds of bytes


@pytest.mark.slow
@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("ranks", [2, 4])
def test_a_split_mlp_is_equal_and_sends_what_a_ring_sends(ranks: int) -> None:
    result = launch(script("split_mlp.py").path, ranks=ranks, device="cpu", timeout_seconds=120)
    assert result.finished, result.message
    predicted = bytes_sent(128, 576, 1, 4, ranks) // 2
    assert len(result.measurements) == ranks
    for rank in result.measurements:
        assert rank["difference"] < 1e-3  # of values up to 1,444
        assert 0 <= rank["bytes_sent"] - predicted < HEADER_BYTES


def test_what_was_sent_stands_beside_the_prediction_or_is_not_counted() -> None:
    notes = tuple(({"measurement": {"difference": 1e-4, "bytes_sent": sent}},) for sent in (1234, None))
    table = sent_table(RunResult("finished", "", 1.0, notes), 1000)
    assert [row[2:] for row in table.rows] == [("1,000", "1,234"), ("1,000", "not counted here")]


def figures(ranks: int, tpot_ms: float, dtype: str = "float32") -> RunFigures:
    case = BenchCase("tensor", "smollm2-135m", ranks=ranks, tensor=ranks, kv_heads=4, dtype=dtype)
    rank = {
        "stage": 0, "tensor_rank": 0, "ttft_ms": [10.0], "tpot_ms": [tpot_ms], "weight_bytes": 5 * 10**8,
        "hardware": "CPU of a test", "max_abs_logit_difference": 5e-5, "greedy_tokens_equal": True,
    }  # fmt: skip
    return RunFigures(case, "smol", tuple({**rank, "tensor_rank": n} for n in range(ranks)), None)


def test_one_rank_stands_beside_two() -> None:
    table = ranks_table(figures(1, 50.0), figures(2, 100.0))
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["tokens/s while decoding"] == ("20.0", "10.0")
    assert rows["a rank sends for each token"][0] == "0 bytes"
    assert rows["same tokens as transformers"] == ("yes", "yes")
    assert "measured here on CPU of a test" in table.caption
    assert "bfloat16" not in table.caption
    assert "equally likely" in ranks_table(figures(1, 1.0, "bfloat16"), figures(2, 1.0, "bfloat16")).caption


def test_ranks_run_on_gpus_only_where_each_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device_of_ranks(RANKS) == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of_ranks(RANKS) == "cuda"


def test_every_recorded_run_on_two_gpus_has_its_partner_and_one_line() -> None:
    # The model that needs both GPUs has no partner.
    for runs in (RUNS, OURS):
        pairs = [
            run for run in runs if run.settings["strategy"] != "none" and "70b" not in run.settings["model"]
        ]
        assert all(partner(runs, run) is not None for run in pairs)
        assert len(two_gpus_table(runs).rows) == len(pairs)
    pairs = [run for run in RUNS if run.settings["strategy"] != "none"]
    rows = two_gpus_table(RUNS).rows
    assert len(rows) == len(pairs)
    assert rows[0] == (
        "llama-3.1-8b, transformers, eager", "TP 2", "1 × 128", "41.6", "21.8", "0.52 ×", "49", "96",
        "0.51 ×",
    )  # fmt: skip
    assert (
        "llama-3.1-8b, gpt-fast",
        "TP 2",
        "1 × not noted",
        "153.7",
        "190.4",
        "1.24 ×",
        "–",
        "–",
        "–",
    ) in rows


def test_a_later_run_without_a_partner_is_left_out() -> None:
    together = next(run for run in RUNS if run.settings["strategy"] == "tensor")
    alone = replace(together, settings={**together.settings, "engine": "theirs"})
    assert partner(RUNS, next(run for run in RUNS if run.settings["strategy"] == "none")) is None
    assert len(two_gpus_table([*RUNS, alone]).rows) == len(two_gpus_table(RUNS).rows)


def test_the_figure_pairs_each_engine_with_itself() -> None:
    picture = two_gpus_figure(RUNS, "llama-3.1-8b", "Llama")
    (axes,) = picture.figure.axes
    words = [text.get_text() for text in axes.texts]
    assert words == [
        "41.6", "21.8  (0.52 ×)", "110.4", "87.3  (0.79 ×)", "153.7", "190.4  (1.24 ×)", "153.7",
        "237.2  (1.54 ×)",
    ]  # fmt: skip
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2


def test_the_strategies_are_compared_with_measured_gains() -> None:
    table = strategies_table(RUNS, OURS)
    measured = {row[0]: row[-2] for row in table.rows}
    assert list(measured) == ["data", "pipeline", "tensor"]
    assert "1.98 ×" in measured["data"]
    assert "0.57 ×" in measured["pipeline"]
    for gain in ("0.52 ×", "1.54 ×", "1.77 ×", "1.74 ×"):
        assert gain in measured["tensor"]
    assert "recorded on 2 × NVIDIA H100" in table.caption
    assert "gpt-fast" not in table.caption


def test_our_own_runs_stand_apart_as_they_are_from_other_gpus() -> None:
    table = strategies_table(RUNS, OURS)
    ours = {row[0]: row[-1] for row in table.rows}
    assert ours["data"].startswith("1.99 ×")
    assert ours["pipeline"].startswith("1.95 ×")
    assert "1.00 × against one GPU with all 16" in ours["pipeline"]
    assert ours["tensor"] == "1.62 × (8B), 1.81 × (24B), first token 1.81 × (24B, 4,096 tokens)"
    assert all("H200" in run.hardware for run in OURS)
    assert not any("H200" in run.hardware for run in RUNS)


def test_sums_in_one_exchange_are_the_fastest() -> None:
    table = sums_table(RECORDED / "sums_two_h200.json")
    assert [row[0] for row in table.rows][:2] == ["1 × 4,096", "1 × 5,120"]
    assert table.headers[1:] == ("nccl, µs", "torch one-shot, µs", "ours, µs")
    assert all(float(row[3]) < min(float(row[1]), float(row[2])) for row in table.rows)


def test_the_recorded_runs_say_what_is_not_known() -> None:
    references = load_runs(RECORDED, "two_h100_references.json")
    assert all((run.date, run.commit) == (None, None) for run in references)
    assert all(
        {"model", "engine", "strategy", "ranks", "batch", "tokens"} <= run.settings.keys()
        for run in (*RUNS, *OURS)
    )
    assert all(run.hardware.endswith("NVIDIA H100 80GB HBM3") for run in RUNS)
    assert {quantity.unit for run in references for quantity in run.values.values()} == {"tokens/s", "ms"}
    assert note_of(references).endswith("date not noted")
    assert all(
        run.date and run.commit and run.settings["runs"] for run in (*RUNS, *OURS) if run not in references
    )


def test_one_run_is_found_or_a_sentence_says_how_many_were() -> None:
    assert one(RUNS, engine="gpt-fast", strategy="tensor") == 190.4
    assert len(select(RUNS, "ttft_ms", engine="vLLM")) == 4
    with pytest.raises(WorkshopError, match="2 recorded runs have tokens_per_s and engine gpt-fast"):
        one(RUNS, engine="gpt-fast")
    with pytest.raises(WorkshopError, match="0 recorded runs"):
        one(RUNS, engine="none")


def test_without_recordings_a_sentence_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="run the notebook in its own folder"):
        load_runs(tmp_path)


def test_files_are_read_together(tmp_path: Path) -> None:
    from workshop_utils.measure.measurement import save_measurements

    first: Measurement = RUNS[0]
    save_measurements(tmp_path / "two_h100_a.json", [first])
    save_measurements(tmp_path / "two_h100_b.json", [first, first])
    assert len(load_runs(tmp_path)) == 3
