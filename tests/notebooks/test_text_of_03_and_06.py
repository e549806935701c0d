"""Figures in the text of notebooks 03 and 06 are those of the engine, the catalogue and the recordings."""

from collections.abc import Sequence
from pathlib import Path

import nbformat

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.lessons.exercises_one_gpu import (
    RATE_MODEL,
    RATE_TOKENS_PER_S,
    STEP_BATCH,
    STEP_MODEL,
    STEP_TOKENS,
)
from workshop_utils.lessons.exercises_tensor import (
    SENT_MODEL,
    SENT_RANKS,
    SENT_TOKENS,
    SHARE_BATCH,
    SHARE_MODEL,
    SHARE_RANKS,
    SHARE_TOKENS,
)
from workshop_utils.lessons.one_gpu import decode_limit, step_bytes
from workshop_utils.lessons.strategies_table import EAGER, LARGE, LONG, OURS, SHORT, SMALL, gain
from workshop_utils.lessons.tricks import load_tricks, tricks_figure
from workshop_utils.lessons.two_h100 import H200_FILES, load_runs, one
from workshop_utils.measure.measurement import Measurement, load_measurements
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.parallel.tensor import bytes_sent

FOLDER = Path(__file__).parents[2] / "notebooks"
RUNS = load_runs(FOLDER / "recorded")
# Recorded with a trick that slowed all of them down.
EARLY_LAUNCHES = "tricks_with_early_launches.json"
LLAMA, H100 = find_architecture(SMALL), find_gpu("H100-80GB")


def text_of(name: str) -> str:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


ONE_GPU, TENSOR = text_of("03_one_gpu"), text_of("06_tensor_parallel")


def heads_of(shape: Architecture) -> str:
    attention = shape.layers[0].attention
    return f"{attention.kv_heads} KV heads of size {attention.head_dim}"  # type: ignore[union-attr]


def test_the_exercises_of_03_give_the_shapes_they_ask_for() -> None:
    for model in (STEP_MODEL, RATE_MODEL):
        shape = find_architecture(model)
        assert f"{count_parameters(shape).total:,} parameters" in ONE_GPU
        assert f"{shape.vocabulary_size * shape.hidden_size:,}" in ONE_GPU
    assert f"{len(LLAMA.layers)} layers, {heads_of(LLAMA)}" in ONE_GPU
    assert f"{STEP_BATCH} conversations of {STEP_TOKENS:,} tokens" in ONE_GPU
    assert f"{RATE_TOKENS_PER_S} tokens/s" in ONE_GPU
    assert f"{count_parameters(find_architecture('smollm2-135m')).total:,} parameters" in ONE_GPU


def test_03_quotes_the_data_sheet_and_the_recordings() -> None:
    assert f"{H100.bandwidth_gb_per_s:,g} GB/s and {H100.half_tflops:g} TFLOP/s" in ONE_GPU
    slow = one(RUNS, model=SMALL, engine=EAGER, strategy="none", **SHORT)
    fast = one(RUNS, model=SMALL, engine="vLLM", strategy="none", **SHORT)
    assert f"from {slow} to {fast} tokens/s" in ONE_GPU
    assert f"the recorded step took {1000 / slow:.0f} ms" in ONE_GPU
    assert round(1000 * step_bytes(LLAMA) / (H100.bandwidth_gb_per_s * 1e9), 1) == 4.5  # "5 ms" with a copy
    assert 0.75 < 1 - slow / decode_limit(LLAMA, H100) < 0.85  # "80 % of an H100 unused"


def test_the_exercises_of_06_give_the_shapes_they_ask_for() -> None:
    sent, share = find_architecture(SENT_MODEL), find_architecture(SHARE_MODEL)
    assert f"({len(sent.layers)} layers, hidden size {sent.hidden_size:,}) with TP {SENT_RANKS}" in TENSOR
    assert f"a prompt of {SENT_TOKENS:,} tokens" in TENSOR
    total = count_parameters(share).total
    assert f"({total:,} parameters, {len(share.layers)} layers, {heads_of(share)})" in TENSOR
    assert f"TP {SHARE_RANKS} on two nodes" in TENSOR
    assert f"{SHARE_BATCH} conversations of {SHARE_TOKENS:,} tokens" in TENSOR


def test_06_quotes_the_recordings_and_what_is_sent() -> None:
    slow = one(RUNS, model=SMALL, engine=EAGER, strategy="none", **SHORT)
    assert f"One H100 makes {slow} tokens/s" in TENSOR
    fast = gain(RUNS, "tensor", model=SMALL, engine="gpt-fast", batch=1)
    faster = gain(RUNS, "tensor", model=SMALL, engine="vLLM", **SHORT)
    assert f"gains {fast:.2f} to {faster:.2f} ×" in TENSOR
    sent = bytes_sent(1, LLAMA.hidden_size, len(LLAMA.layers), 2, 2)
    assert f"{sent / 1e6:.1f} MB a token" in TENSOR
    assert f"the other {2 * len(LLAMA.layers)} times a token" in TENSOR
    smol = find_architecture("smollm2-135m")
    assert f"{2 * len(smol.layers) + 1} all-reduces a token" in TENSOR  # and one for the embedding


def test_06_says_what_tp_2_does_to_the_first_token_of_a_short_prompt() -> None:
    ours = load_runs(FOLDER / "recorded", H200_FILES)
    launched = load_measurements(FOLDER / "recorded" / "prompt_without_graph_two_h200.json")
    (alone, both), (alone_launched, both_launched) = (
        [
            one(runs, "ttft_ms", model=SMALL, engine=OURS, strategy=strategy, **SHORT)
            for strategy in ("none", "tensor")
        ]
        for runs in (ours, launched)
    )
    assert f"{alone:.1f} → {both:.1f} ms" in TENSOR
    assert f"*later*, {alone_launched:.1f} → {both_launched:.0f} ms" in TENSOR
    long = gain(ours, "tensor", "ttft_ms", model=LARGE, engine=OURS, **LONG)
    assert f"(24B: {long:.2f} ×)" in TENSOR


def test_03_says_how_the_two_eager_runs_differ() -> None:
    ours = next(run for run in RUNS if run.settings["engine"] == f"{EAGER}, same loop")
    assert ours.date is not None
    assert f"({ours.settings['new_tokens']} tokens out)" in ONE_GPU
    theirs = next(
        run for run in RUNS if {"model": SMALL, "engine": EAGER, **SHORT}.items() <= run.settings.items()
    )
    assert (theirs.date, theirs.settings["new_tokens"]) == (None, None)  # "not noted"


def test_03_quotes_the_tricks_as_they_were_measured() -> None:
    runs = load_tricks(FOLDER / "recorded" / "tricks_of_decoding.json")
    speeds, before = speeds_of(runs), speeds_of(load_tricks(FOLDER / "recorded" / EARLY_LAUNCHES))

    def bought(trick: str, speeds: dict[tuple[str, ...], float] = speeds) -> str:
        return f"{100 * (speeds[()] / speeds[(trick,)] - 1):.0f} %"

    assert f"One trick *cost* {100 * (before[('overlap',)] / before[()] - 1):.0f} %" in ONE_GPU
    slowest = sorted(speeds, key=lambda without: speeds[without])
    assert slowest[:4] == [("graph", "static_cache"), ("graph",), ("kernels",), ("device_sampling",)]
    grows = 1 - speeds[("graph", "static_cache")] / speeds[("graph",)]
    assert "The graph buys most**; it needs a cache that keeps its place" in ONE_GPU
    assert f"a growing one costs {100 * grows:.0f} % more" in ONE_GPU
    picking = f"bought {bought('device_sampling')} here, {bought('device_sampling', before)} on another host"
    assert picking in ONE_GPU
    assert f"a CPU searches {LLAMA.vocabulary_size:,}" in ONE_GPU
    assert f"Fused products bought {bought('fused')}" in ONE_GPU
    (axes,) = tricks_figure(runs).figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["no graph, and a cache that grows", "without the CUDA graph"]
    assert labels[-1] == "all of them"


def speeds_of(runs: Sequence[Measurement]) -> dict[tuple[str, ...], float]:
    return {tuple(run.settings["without"]): run.values["tokens_per_s"].value for run in runs}


def test_06_takes_a_step_on_two_gpus_apart() -> None:
    ours = load_runs(FOLDER / "recorded", H200_FILES)
    wanted = {"model": SMALL, "engine": OURS, "strategy": "tensor", **SHORT}
    step, share = (one(ours, value, **wanted) for value in ("tpot_ms", "roofline_share"))
    sums = load_measurements(FOLDER / "recorded" / "sums_two_h200.json")
    each = next(
        run.values["microseconds"].value
        for run in sums
        if run.settings["shape"] == [1, LLAMA.hidden_size] and run.settings["way"] == "ours"
    )
    assert f"Of the {step:.2f} ms of a step" in TENSOR
    assert f"half of the weights take {step * share:.2f} ms to read" in TENSOR
    alone, read = (
        one(ours, value, **{**wanted, "strategy": "none"}) for value in ("tpot_ms", "roofline_share")
    )
    assert f"one GPU has {alone * (1 - read):.2f} of {alone:.2f} ms" in TENSOR
    waits = 2 * len(LLAMA.layers)
    assert f"{waits} sums of {each:.1f} µs take {waits * each / 1000:.2f} ms" in TENSOR
    assert f"The rest, {step * (1 - share) - waits * each / 1000:.2f} ms" in TENSOR
