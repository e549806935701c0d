"""A measurement carries its provenance, in memory and on disk."""

import json
from datetime import date
from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.measurement import Quantity, load_measurements, save_measurements
from workshop_utils.measure.provenance import hardware_name, measured_here

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"


def test_what_is_measured_here_says_where_when_and_with_what() -> None:
    measurement = measured_here("memory", {"weights": 7}, "generate()", {"tokens": 3})
    assert measurement.values == {"weights": Quantity(7, "bytes")}
    assert measurement.versions.keys() == {"Python", "torch", "transformers"}
    assert measurement.date is not None
    assert measurement.date.endswith("+00:00")
    assert hardware_name() in measurement.label
    assert measurement.label.startswith("measured here")


def test_a_saved_measurement_comes_back_as_a_recorded_one(tmp_path: Path) -> None:
    measurement = measured_here("memory", {"weights": 7}, "generate()", {"tokens": 3})
    save_measurements(tmp_path / "m.json", [measurement])
    (loaded,) = load_measurements(tmp_path / "m.json")
    assert loaded.recorded
    assert loaded.label.startswith("recorded on")
    assert (loaded.values, loaded.settings, loaded.date) == (
        measurement.values, measurement.settings, measurement.date,
    )  # fmt: skip


# A queue is what sinfo printed, and no measurement; it has a test of its own below.
QUEUES = sorted(RECORDED.glob("queue_*.json"))
MEASURED = sorted(set(RECORDED.glob("*.json")) - set(QUEUES))


@pytest.mark.parametrize("path", QUEUES, ids=lambda path: path.stem)
def test_a_recorded_queue_says_what_printed_it_and_when(path: Path) -> None:
    fields = json.loads(path.read_text(encoding="utf-8"))
    assert fields["command"].startswith("sinfo ")
    assert date.fromisoformat(fields["date"])
    assert fields["versions"]["slurm"] and fields["what"] and fields["lines"]


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_every_recorded_file_names_hardware_versions_and_command(path: Path) -> None:
    for measurement in load_measurements(path):
        assert measurement.hardware
        assert measurement.command
        engine = measurement.settings.get("engine", "transformers")
        own = engine.startswith("this workshop") or "way" in measurement.settings
        package = "triton" if own else engine if engine in {"gpt-fast", "vLLM"} else "transformers"
        assert package.lower() in measurement.versions
        assert measurement.date or "date not noted" in measurement.label


def test_the_recorded_cache_is_the_engines_to_the_byte() -> None:
    from workshop_utils.memory.kv_cache import kv_cache_bytes
    from workshop_utils.models.find import find_architecture

    shape = find_architecture("gemma-3-4b")
    for run in load_measurements(RECORDED / "gemma_3_4b_h200.json"):
        cached = run.settings["tokens"] - 1  # the last token is never cached
        assert run.bytes_of("kv_cache") == kv_cache_bytes(shape, cached, 1, "bfloat16")


def test_an_unknown_value_names_those_there_are() -> None:
    with pytest.raises(WorkshopError, match="it has weights"):
        measured_here("memory", {"weights": 7}, "", {}).bytes_of("process")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match=r"in its own folder"):
        load_measurements(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["{", "[1]", json.dumps([{"what": "x"}]), "\xff", '{"a": 1}'])
def test_a_file_of_something_else_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(WorkshopError, match="holds no recorded measurements"):
        load_measurements(path)
