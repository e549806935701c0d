"""Notebooks 04 and 05: predictions, schedules and tables, without starting a rank."""

import pytest

from workshop_utils.figures.timeline import Schedule, Turn
from workshop_utils.lessons import data_parallel
from workshop_utils.lessons.data_parallel import predicted_speedup, replica_memory_table
from workshop_utils.lessons.pipeline_parallel import (
    StagesRun,
    bubble_table,
    ideal_schedule,
    layer_and_head_bytes,
    measured_schedule,
    prefill_figure,
    schedule_of,
    stage_memory_table,
)
from workshop_utils.lessons.replicas import ReplicasRun
from workshop_utils.lessons.script_view import script
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.data import Answered
from workshop_utils.parallel.pipeline import bubble

MOST_LINES = 35


def alone(device: str, busy: float) -> ReplicasRun:
    return ReplicasRun(1, device, Answered([[1]], {0: 1}, {}, 2.0), (busy,))


@pytest.mark.parametrize(
    ("device", "busy", "times"), [("cuda", 1.0, 2), ("cpu", 4.0, 1), ("cpu", 1.0, 2), ("cpu", 3.2, 1.25)]
)
def test_on_a_cpu_a_second_replica_has_only_idle_cores(
    device: str, busy: float, times: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_parallel, "cores_here", lambda: 4)
    assert predicted_speedup(alone(device, busy), 2) == pytest.approx(times)


def test_replicas_copy_weights_and_not_the_cache_of_others() -> None:
    rows = replica_memory_table("llama-3.1-8b", (1, 4), tokens=4096, batch=8).rows
    assert [row[2] for row in rows] == ["16.1 + 4.3", "16.1 + 4.3"]
    assert rows[1][3] == "64.2 + 17.2"


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
@pytest.mark.parametrize("micro_batches", [1, 2, 4, 7])
def test_the_ideal_schedule_has_the_bubble_of_the_formula(stages: int, micro_batches: int) -> None:
    schedule = ideal_schedule(stages, micro_batches)
    assert schedule.idle_share == pytest.approx(bubble(stages, micro_batches))


def test_a_slow_stage_keeps_the_others_waiting() -> None:
    turns = schedule_of([2.0, 1.0], 2)
    assert turns == (Turn(0, 0, 0, 2), Turn(1, 0, 2, 3), Turn(0, 1, 2, 4), Turn(1, 1, 4, 5))
    assert Schedule("", turns, "s").idle_share == pytest.approx(1 - 6 / 10)


def made_up_run() -> StagesRun:
    def stage(*times: tuple[float, float]) -> dict[str, object]:
        turns = [
            {"phase": "prefill", "micro_batch": n, "began": a, "ended": b} for n, (a, b) in enumerate(times)
        ]
        return {"turns": turns, "layers": 15, "weight_bytes": 3 * 10**8, "decode_seconds": 1.0}

    return StagesRun(8, 2, (stage((100, 101), (101, 102)), stage((101, 102), (102, 103))))


def test_a_measured_schedule_counts_from_the_first_turn() -> None:
    schedule = measured_schedule(made_up_run())
    assert schedule.length == pytest.approx(3000)
    assert schedule.idle_share == pytest.approx(1 / 3)
    (row,) = bubble_table([made_up_run()]).rows
    assert row == ("2", "33%", "1000 and 1000", "33%", "33%")


def test_the_timeline_draws_every_turn_and_says_its_idle_share() -> None:
    picture = prefill_figure([made_up_run()])
    assert len(picture.figure.axes) == 2
    assert "2 micro-batches, measured: 3e+03 ms, 33% idle" in repr(picture)
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_the_head_of_the_small_model_weighs_as_much_as_eight_layers() -> None:
    layers, head = layer_and_head_bytes(find_architecture("smollm2-135m"))
    assert len(layers) == 30
    assert round(head / layers[0]) == 8


def test_a_stage_holds_half_of_weights_and_cache() -> None:
    rows = stage_memory_table("mistral-small-24b", 1, 2, tokens=16_384, batch=8).rows
    assert [row[1:3] for row in rows] == [("47.1", "21.5"), ("23.6", "10.7")]


@pytest.mark.parametrize("name", ["replica.py", "split_prompts.py", "stages.py"])
def test_a_script_is_short_enough_to_be_shown(name: str) -> None:
    assert len(script(name).text.splitlines()) <= MOST_LINES
    assert script(name)._repr_markdown_().startswith(f"`{name}`\n```python")
