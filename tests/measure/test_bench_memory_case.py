"""What a run asks for: valid cases, files of cases, the set that each machine does by itself."""

import json
from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.bench_memory_case import (
    MemoryCase,
    case_of,
    combinations,
    default_cases,
    read_cases,
)
from workshop_utils.models.find import find_architecture
from workshop_utils.units import GIB

H200 = 139 * GIB


def test_combinations_vary_the_last_list_fastest() -> None:
    cases = combinations({"model": ["a", "b"], "tokens": [8], "batch": [1, 2]})
    assert [(case.model, case.tokens, case.batch) for case in cases] == [
        ("a", 8, 1), ("a", 8, 2), ("b", 8, 1), ("b", 8, 2),
    ]  # fmt: skip
    assert cases[0].total_tokens == 24


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tokens": 8}, "lacks model or tokens"),
        ({"model": "a", "tokens": 8, "color": 1}, "has color"),
        ({"model": "", "tokens": 8}, "is no name"),
        ({"model": "a", "tokens": 0}, "tokens 0 is out of range"),
        ({"model": "a", "tokens": True}, "tokens True"),
        ({"model": "a", "tokens": "8"}, "tokens '8'"),
        ({"model": "a", "tokens": 8, "batch": 10**9}, "batch 1000000000 is out of range"),
        ({"model": "a", "tokens": 8, "attention": "flex"}, "choose sdpa or eager"),
        ({"model": "a", "tokens": 8, "cache": "paged"}, "choose dynamic or static"),
    ],
)
def test_a_bad_case_is_one_sentence(values: dict, words: str) -> None:
    with pytest.raises(WorkshopError, match=words):
        case_of(values)


def test_a_file_of_cases_is_read_and_written_the_same_way(tmp_path: Path) -> None:
    cases = combinations({"model": ["a"], "tokens": [8], "cache": ["dynamic", "static"]})
    file = tmp_path / "cases.jsonl"
    file.write_text("\n".join(json.dumps(case.as_json()) for case in cases) + "\n\n", encoding="utf-8")
    assert read_cases(file) == cases


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no case"),
        ('{"model": "a", "tokens": 8}\n{', "line 2 .* no JSON"),
        ("[1]", "line 1 .* no JSON object"),
    ],
)
def test_a_bad_file_of_cases_names_the_line(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(WorkshopError, match=words):
        read_cases(file)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="cannot read the cases"):
        read_cases(tmp_path / "none.jsonl")


def test_the_set_of_an_h200_is_broad_enough_to_judge_the_predictions() -> None:
    cases = default_cases(H200, 1)
    assert len(cases) == len(set(cases)) >= 44
    assert {case.pipeline_parallel for case in cases} == {1}
    assert {case.attention for case in cases} == {"sdpa", "eager"}
    assert {case.cache for case in cases} == {"dynamic", "static"}
    assert (min(case.tokens for case in cases), max(case.tokens for case in cases)) == (4096, 131072)
    assert {1, 8} <= {case.batch for case in cases}
    layers = [layer for case in cases for layer in find_architecture(case.model).layers]
    assert any(layer.experts for layer in layers)
    assert any(layer.attention.window for layer in layers)
    assert any(case.pipeline_parallel == 2 for case in default_cases(H200, 2))


@pytest.mark.parametrize(("size", "gpus"), [(H200, 8), (40 * GIB, 1), (8 * GIB, 1), (None, 0)])
def test_every_default_set_names_models_of_the_catalogue_and_fits_the_machine(
    size: int | None, gpus: int
) -> None:
    cases = default_cases(size, gpus)
    assert len(cases) >= 6
    for case in cases:
        assert find_architecture(case.model).name == case.model
        assert case.pipeline_parallel <= max(gpus, 1)


def test_smaller_gpus_are_asked_for_less() -> None:
    most = [
        max(case.tokens * case.batch for case in default_cases(size, 1)) for size in (H200, 8 * GIB, None)
    ]
    assert most == sorted(most, reverse=True)
    assert len(set(most)) == 3


def test_a_case_says_what_it_is_in_one_line() -> None:
    assert MemoryCase("a", 4096, 2, pipeline_parallel=2).label == "a 4,096 × 2 sdpa dynamic pp=2"
