"""The tensors that are predicted for a prefill, in the order in which a GPU's allocator saw them."""

import json
import lzma
from pathlib import Path

import pytest

from workshop_utils.measure.shape_twin import twin_architecture
from workshop_utils.memory.allocator import Allocator, Block
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.process import cublas_bytes
from workshop_utils.memory.sharding import shards, whole_model
from workshop_utils.memory.tensors.forward import forwards
from workshop_utils.memory.tensors.generate import Generation, peaks, play
from workshop_utils.memory.tensors.stage import stage_of
from workshop_utils.models.find import find_architecture
from workshop_utils.units import MIB

TRACES = json.loads(lzma.decompress((Path(__file__).parent / "allocations.json.xz").read_bytes()))
WORKSPACE = cublas_bytes(None)
# Every tensor above 1 MiB is made and freed in the recorded order.
EXACT = (
    "llama-3.1-8b-sdpa-dynamic", "llama-3.1-8b-eager-dynamic", "llama-3.1-8b-sdpa-static",
    "qwen3-8b-sdpa-dynamic", "phi-4-sdpa-dynamic", "olmo-2-7b-sdpa-dynamic", "qwen3-30b-a3b-sdpa-dynamic",
    "qwen3-8b-sdpa-dynamic-stage-0", "qwen3-8b-sdpa-dynamic-stage-1",
)  # fmt: skip
# Every tensor is made in the recorded order; how many are freed behind another new tensor than they were.
FREED_ELSEWHERE = {
    # After the last layer, the hidden states.
    "gemma-3-4b-sdpa-dynamic": 1,
    # In each of three layers, one of the experts' tensors, freed before another instead of after it.
    "mixtral-8x7b-sdpa-dynamic": 0,
    # After the last layer, the mask, behind the rotary tables.
    "llama-3.1-8b-sdpa-dynamic-padded": 1,
    # In each of four layers, the scores that eager attention hands back.
    "gpt-oss-20b-eager-dynamic": 4,
}
# Bytes a token of tensors that end at once and are not predicted: the indices of gpt-oss's maximum, 64 × 8.
PASSING = {"gpt-oss-20b-eager-dynamic": 512}

Steps = list[tuple[str, int]]


def named(trace: dict) -> str:
    stage = f"-stage-{trace['rank']}" if "rank" in trace else ""
    padded = "-padded" if trace["padding"] else ""
    return f"{trace['model']}-{trace['attention']}-{trace['cache']}{padded}{stage}"


BY_NAME = {named(trace): trace for trace in TRACES}


class Recorder(Allocator):
    """An allocator that notes what it is asked for."""

    __slots__ = ("log", "sizes")

    def __init__(self) -> None:
        super().__init__()
        self.log: Steps = []
        self.sizes: dict[int, tuple[int, Block]] = {}

    def take(self, size: int) -> Block:
        block = super().take(size)
        self.log.append(("+", size))
        # The block is kept too, so that no other gets its id.
        self.sizes[id(block)] = (size, block)
        return block

    def give(self, block: Block) -> None:
        self.log.append(("-", self.sizes[id(block)][0]))
        super().give(block)


def large(steps: Steps) -> Steps:
    """Leave out what is small, which shares segments, and the workspace, which some recordings had before."""
    return [(sign, size) for sign, size in steps if size > MIB and size != WORKSPACE]


def generation_of(trace: dict) -> Generation:
    return Generation(
        trace["tokens"], trace["new"], trace["batch"], trace["attention"], trace["cache"] == "static",
        bool(trace["padding"]),
    )  # fmt: skip


def predicted(trace: dict) -> Steps:
    """The prefill as it is predicted."""
    cut = shards(twin_architecture(trace["model"], trace["layers"]), 1, trace.get("gpus", 1))
    shard = cut[trace.get("rank", 0)]
    recorder = Recorder()
    (prefill,) = forwards(stage_of(shard).layer_set, generation_of(trace).prefill(), 2, WORKSPACE)
    play(recorder, prefill, stage_of(shard).order, [[] for _ in shard.layers])
    return large(recorder.log)


def recorded(trace: dict) -> Steps:
    """All of the recording: weights, prefill, decoding."""
    sizes: list[int] = []
    steps: Steps = []
    for step in trace["steps"]:
        if step >= 0:
            sizes.append(-(-step // 512) * 512)
            steps.append(("+", sizes[-1]))
        else:
            steps.append(("-", sizes[~step]))
    return large(steps)


def places(part: Steps, whole: Steps) -> list[int]:
    """Where ``part`` stands in ``whole`` without a gap."""
    return [
        start
        for start in range(len(whole) - len(part) + 1)
        if whole[start] == part[0] and whole[start : start + len(part)] == part
    ]


@pytest.mark.parametrize("name", EXACT)
def test_tensors_are_made_and_freed_in_the_recorded_order(name: str) -> None:
    trace = BY_NAME[name]
    steps = predicted(trace)
    assert len(steps) > 40 * trace["layers"]
    assert len(places(steps, recorded(trace))) == 1


@pytest.mark.parametrize("name", FREED_ELSEWHERE)
def test_tensors_are_made_in_the_recorded_order_where_some_are_freed_elsewhere(name: str) -> None:
    trace = BY_NAME[name]
    passing = PASSING.get(name, 0) * trace["tokens"] * trace["batch"]
    steps, all_real = (
        [step for step in each if step[1] != passing] for each in (predicted(trace), recorded(trace))
    )
    made, made_really = ([step for step in each if step[0] == "+"] for each in (steps, all_real))
    (first,) = places(made, made_really)
    # The same number of steps from the first tensor of the prefill on.
    starts = [number for number, step in enumerate(all_real) if step[0] == "+"]
    real = all_real[starts[first] : starts[first] + len(steps)]
    assert moved(steps, real) == FREED_ELSEWHERE[name]


def moved(steps: Steps, real: Steps) -> int:
    """How many tensors are freed between other neighbours: runs of frees between two new tensors differ."""

    def runs(of: Steps) -> list[list[int]]:
        found: list[list[int]] = [[]]
        for sign, size in of:
            if sign == "+":
                found.append([])
            else:
                found[-1].append(size)
        return found

    differ = [(a, b) for a, b in zip(runs(steps), runs(real), strict=False) if sorted(a) != sorted(b)]
    return sum(len(a) > len(b) for a, b in differ)


def test_a_prompt_in_chunks_needs_less() -> None:
    whole = whole_model(find_architecture("llama-3.1-8b"))
    sizes = [
        peaks(stage_of(whole), Generation(32_768, 16, 1, "sdpa", chunk=chunk), 2).prefill.bytes
        for chunk in (None, 8192, 1024)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("model", ["gemma-3-4b", "gpt-oss-20b"])
def test_flash_attention_2_has_no_mask(model: str) -> None:
    def mask_bytes(attention: str) -> int:
        terms = estimate(find_architecture(model), tokens=8192, attention=attention).per_gpu[0].terms
        return sum(term.bytes for term in terms if term.name == "activations: attention mask")

    assert mask_bytes("flash_attention_2") == 0
    assert mask_bytes("sdpa") > 0


def test_padded_prompts_need_a_mask() -> None:
    of = {
        padded: estimate(find_architecture("llama-3.1-8b"), tokens=8192, batch=2, padded=padded)
        for padded in (False, True)
    }
    assert of[True].peak_bytes >= of[False].peak_bytes + 2 * 8176**2


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "gpt-oss-20b", "deepseek-v2-lite"])
def test_a_later_chunk_of_the_prompt_copies_no_expert(model: str) -> None:
    # generate() turns to copies of the chosen experts' weights after its prefill, whatever that is cut into.
    whole, chunked = (
        estimate(find_architecture(model), tokens=16_384, prefill_chunk=chunk).per_gpu[0]
        for chunk in (None, 512)
    )
    assert chunked.prefill_peak_bytes < whole.prefill_peak_bytes
    assert chunked.decode_peak_bytes <= whole.decode_peak_bytes
