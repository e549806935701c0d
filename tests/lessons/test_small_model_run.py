"""The small model's run: what two watches saw, on a CPU and on a GPU, beside what was predicted."""

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.small_model_run import (
    QUESTIONS,
    WORKSPACE,
    comparison_table,
    eight_prompts,
    predicted_parts,
    run_measurement,
)  # fmt: skip
from workshop_utils.measure.process_memory import MemoryReading
from workshop_utils.measure.watch import MemoryWatch
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture

PREDICTED = estimate(find_architecture("smollm2-135m"), tokens=511, batch=8)


def watches(loaded: MemoryReading, generated: MemoryReading) -> tuple[MemoryWatch, MemoryWatch]:
    loading = MemoryWatch("memory", MemoryReading(1000), True, loaded)
    return loading, MemoryWatch("memory", loaded, True, generated)


def test_on_a_cpu_the_libraries_are_a_line_of_their_own() -> None:
    measured = run_measurement(*watches(MemoryReading(3000), MemoryReading(3500, 4100)), model="m")
    parts = {name: quantity.value for name, quantity in measured.values.items()}
    assert parts == {"weights": 2000, "kv_cache": 500, "activations": 600, "libraries": 1000}
    assert "process" not in predicted_parts(PREDICTED, measured)


def test_on_a_gpu_reserve_and_context_are_lines_of_their_own() -> None:
    end = MemoryReading(3500, 4100, 5000, 7000)
    measured = run_measurement(*watches(MemoryReading(3000, 3000, 3000, 3100), end), model="m")
    parts = {name: quantity.value for name, quantity in measured.values.items()}
    assert parts == {
        "weights": 2000, "kv_cache": 500, "activations": 600, "peak": 4100, "reserve": 900, "process": 2000,
    }  # fmt: skip
    expected = predicted_parts(PREDICTED, measured)
    assert expected["process"] > 0
    assert expected["peak"] == PREDICTED.peak_bytes
    beside = PREDICTED.peak_bytes - sum(expected[part] for part in ("weights", "kv_cache", "activations"))
    assert beside == next(term.bytes for term in PREDICTED.per_gpu[0].terms if term.name == WORKSPACE)


def test_where_no_driver_figure_is_reported_the_line_is_left_out() -> None:
    end = MemoryReading(3500, 4100, 5000, None)
    measured = run_measurement(*watches(MemoryReading(3000, 3000, 3000), end), model="m")
    assert "process" not in measured.values


def test_the_table_compares_weights_and_cache_in_mb() -> None:
    exact = MemoryReading(1000 + PREDICTED.weights_bytes)
    end = MemoryReading(exact.held_bytes + round(PREDICTED.kv_cache_bytes * 1.1), exact.held_bytes * 2)
    table = comparison_table(PREDICTED, run_measurement(*watches(exact, end), model="m"))
    rows = {row[0]: row[2:] for row in table.rows}
    assert rows["weights"] == ("269.0", "269.0", "+0.0 %")
    assert rows["KV cache"] == ("94.2", "103.6", "+10.0 %")
    assert rows["weights + KV cache"][0] == "363.2"
    assert rows["working memory at the peak"][0] == "not predicted"


@pytest.mark.slow
def test_eight_prompts_fill_the_length_that_was_asked_for(small_model) -> None:  # type: ignore[no-untyped-def]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_model)
    inputs = eight_prompts(tokenizer, tokens=480)
    assert tuple(inputs["input_ids"].shape) == (len(QUESTIONS) + 1, 480)
    assert inputs["attention_mask"][:, -1].all()  # padded on the left
    assert 300 < inputs["attention_mask"].sum(dim=1).max() <= 480
    with pytest.raises(WorkshopError, match="100 tokens cannot hold"):
        eight_prompts(tokenizer, tokens=100)
