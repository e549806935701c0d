"""Logs of vLLM with expert parallelism: what says so, and a prediction that spreads the experts too."""

import re
from pathlib import Path

import pytest

from workshop_utils.memory.logs.compare import Comparison, compare
from workshop_utils.memory.logs.comparison_text import comparison_text
from workshop_utils.memory.logs.names import model_of
from workshop_utils.memory.logs.question import Choices
from workshop_utils.memory.logs.reading import read_log

LOGS = Path(__file__).parent / "logs"
GIB = 2**30
# Eight L40S, published; three engines of 0.26, written out after its source.
EIGHT = (LOGS / "vllm-0.10-qwen3-235b-ep8.log").read_text(encoding="utf-8")
ENGINES = (LOGS / "vllm-0.26-experts-source.log").read_text(encoding="utf-8")
# The same start without.
CUT = re.sub(r", 'enable_expert_parallel': True|_EP\d+|.*\[EP Rank.*\n", "", ENGINES)


def compared(text: str, **choices: object) -> Comparison:
    facts = read_log(text)
    return compare(facts, model_of(facts, None), Choices(**choices))  # type: ignore[arg-type]


def test_a_published_start_is_predicted_with_whole_experts() -> None:
    # The rules of 0.19, the oldest that were read, for a start of 0.10.2.
    result = compared(EIGHT, engine_version="0.19")
    assert result.question is not None
    assert (result.question.tensor_parallel, result.question.data_parallel) == (8, 1)
    assert result.question.expert_parallel
    rows = {row.name: row for row in result.rows}
    assert rows["weights"].actual == round(27.7183 * GIB)
    assert abs(rows["weights"].error_percent or 100) < 0.1
    assert abs(rows["KV cache pool"].error_percent or 100) < 3
    heading = " ".join(comparison_text(result).split())
    assert "tensor parallel 8, whole experts over 8 ranks on" in heading


def test_the_first_of_several_engines_is_compared() -> None:
    setup = read_log(ENGINES).setup
    assert (setup.tensor_parallel_size, setup.data_parallel_size) == (1, 3)
    assert setup.enable_expert_parallel is True
    result = compared(ENGINES)
    assert result.question is not None
    assert result.question.keywords.items() >= {"data_parallel": 3, "expert_parallel": True}.items()
    rows = {row.name: row for row in result.rows}
    # Three of eight experts on the first rank, two on the last, whose cache is larger.
    assert rows["weights"].actual == round(34.52 * GIB)
    assert abs(rows["weights"].error_percent or 100) < 0.5
    assert rows["KV cache size"].actual == 277_792
    assert rows["maximum concurrency"].actual == 33.91
    heading = " ".join(comparison_text(result).split())
    assert "data parallel 3, whole experts over 3 ranks on H100-80GB" in heading
    assert result.unpredicted is None


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --enable-expert-parallel --max-model-len 4096",
        "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --max-model-len 4096 --enable_expert_parallel",
        "vllm serve Qwen/Qwen3-8B -ep --tensor-parallel-size 2 --max-model-len 4096",
        "args: Namespace(model='x', tensor_parallel_size=2, enable_expert_parallel=True, max_model_len=4096)",
        "(Worker_TP1_EP1 pid=3) INFO Model loading took 10.0 GiB memory and 1.0 seconds",
        "(Worker_DP0_PP1_TP1_EP1 pid=3) INFO Model loading took 10.0 GiB memory and 1.0 seconds",
        "(Worker_TP0_DCP0_EP0 pid=3) INFO Model loading took 10.0 GiB memory and 1.0 seconds",
        "[EP Rank 1/2] Expert parallelism is enabled. Expert placement strategy: linear.",
    ],
)
def test_each_thing_that_says_so_is_enough(line: str) -> None:
    assert read_log(f"{line}\nAvailable KV cache memory: 5.35 GiB").setup.enable_expert_parallel is True


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve Qwen/Qwen3-8B --no-enable-expert-parallel --tensor-parallel-size 2",
        "vllm serve Qwen/Qwen3-8B --enable-ep-weight-filter --tensor-parallel-size 2",
        "non-default args: {'model': 'x', 'enable_expert_parallel': False, 'tensor_parallel_size': 2}",
        "(Worker_TP1 pid=3) INFO Using ['PYNCCL'] all-reduce backends for group 'ep:0'",
        "rank 0 in world size 8 is assigned as DP rank 0, PP rank 0, TP rank 0, EP rank 0",
    ],
)
def test_what_only_looks_like_it_is_not(line: str) -> None:
    assert not read_log(f"{line}\nAvailable KV cache memory: 5.35 GiB").setup.enable_expert_parallel


def test_of_several_starts_the_last_one_says_it() -> None:
    assert read_log(ENGINES + CUT).setup.enable_expert_parallel is None
    assert read_log(CUT + ENGINES).setup.enable_expert_parallel is True


def test_engines_that_cut_every_expert_together_are_not_predicted() -> None:
    result = compared(CUT)
    assert "cuts every expert over the ranks of all 3 data parallel engines" in (result.unpredicted or "")
    assert all(row.predicted is None for row in result.rows)
    assert "There is no prediction: without --enable-expert-parallel" in comparison_text(result)


def test_one_rank_has_nothing_to_spread() -> None:
    alone = ENGINES.replace("data_parallel_size=3", "data_parallel_size=1")
    result = compared(alone.replace("78.6/79.19", "139.2/139.8"))
    assert result.question is not None
    assert not result.question.expert_parallel
    assert result.unpredicted is None


def test_engines_that_share_experts_grow_together() -> None:
    refusal = (
        "To serve at least one request with the model's max seq len (8192), (1.0 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (0.1 GiB). Based on the available memory, the "
        "estimated maximum model length is 819."
    )
    small = ENGINES[: ENGINES.index("(Worker_DP0_EP0 pid=5) INFO 08-01 10:00:30")]
    small += f"Free memory on device (39.2/39.4 GiB) on startup\n{refusal}\n"
    advice = {piece.option: piece.sentence for piece in compared(small).advice}
    assert advice["--tensor-parallel-size"].startswith("6 GPUs of this type")
