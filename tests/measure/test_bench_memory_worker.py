"""The process of one case, run inside the test's own: what it notes when all goes well and when not."""

import io
import json
from pathlib import Path

import pytest
import torch

from workshop_utils.measure import bench_memory_worker as worker

TINY = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128,
    "max_position_embeddings": 512, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    (tmp_path / "config.json").write_text(json.dumps(TINY), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    monkeypatch.setattr(worker, "warm_up", lambda: None)
    return {"model": str(tmp_path), "tokens": 20, "batch": 2}


def notes_of(case: dict, tmp_path: Path, device: str = "cpu") -> list[dict]:
    assert worker.main(json.dumps(case), device, str(tmp_path / "notes")) == 0
    return [json.loads(line) for line in (tmp_path / "notes").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_case_notes_its_stages_and_then_its_values(case: dict, tmp_path: Path, cache: str) -> None:
    *stages, result = notes_of({**case, "cache": cache}, tmp_path)
    assert [row["stage"] for row in stages] == [
        "preparing", "loading the weights", "computing the prefill", "decoding",
    ]  # fmt: skip
    assert (result["outcome"], result["message"]) == ("measured", None)
    (values,) = result["values"]
    # 2 layers × (2 × 64 × 64 + 2 × 64 × 32 + 3 × 64 × 96 + 2 × 64) + 128 × 64 + 64 values of 2 bytes
    assert values["weights"] == 2 * (2 * (8192 + 4096 + 18432 + 128) + 8192 + 64)
    assert {"loaded", "prefill_peak", "decode_peak", "peak_allocated", "process"} <= values.keys()


def test_the_engine_gets_the_prompt_the_batch_and_the_cache_of_the_case(
    case: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, caches = [], []
    build = worker.build_skeleton

    def watched(*arguments: object, **options: object) -> torch.nn.Module:
        model = build(*arguments, **options)  # type: ignore[arg-type]
        assert model.config._attn_implementation == "eager"
        model.model.register_forward_pre_hook(
            lambda _m, _a, given: (
                (
                    shapes.append(tuple(given["input_ids"].shape)),
                    caches.append(type(given["past_key_values"]).__name__),
                )[:0]
                or None
            ),
            with_kwargs=True,
        )
        return model

    monkeypatch.setattr(worker, "build_skeleton", watched)
    notes_of({**case, "attention": "eager", "cache": "static"}, tmp_path)
    assert shapes == [(2, 20)] + [(2, 1)] * 15
    assert set(caches) == {"StaticCache"}


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore"), "out_of_memory",
         "while loading the weights: CUDA out of memory. Tried to allocate 2 GiB."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory", "while loading"),
        (RuntimeError("shapes do not fit"), "failed", "while loading the weights: shapes do not fit"),
        (KeyError(), "failed", "while loading the weights: KeyError"),
    ],
)  # fmt: skip
def test_an_error_is_the_result_of_its_case(
    case: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "materialise", fail)
    result = notes_of(case, tmp_path)[-1]
    assert result["outcome"] == outcome
    assert result["message"].startswith(message)
    assert "decode_peak" not in (result["values"] or [{}])[0]


def test_memory_that_ends_in_the_prefill_keeps_the_weights(
    case: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(worker, "generate", fail)
    result = notes_of(case, tmp_path)[-1]
    assert result["message"] == "while computing the prefill: CUDA out of memory."
    assert result["values"][0]["weights"] > 0
    assert "peak_allocated" in result["values"][0]


def test_gpus_that_are_not_there_are_one_sentence(
    case: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    result = notes_of(case, tmp_path, "cuda")[-1]
    assert result["outcome"] == "failed"
    assert "can use 0 GPUs of the 1 needed" in result["message"]
