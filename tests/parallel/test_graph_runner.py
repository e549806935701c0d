"""What a recorded pass keeps alive and lets go, with a CUDA graph that records nothing."""

import gc
import weakref
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from workshop_utils.parallel import graph_runner
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.generate import generate
from workshop_utils.parallel.graph_runner import GraphRunner, RecordedPass
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.runner import Runner
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.weights import TwinWeights


class Workspace:
    """Stands for what kernels of a graph write into: nobody but ``run`` knows it."""

    def __call__(self) -> tuple[int, int]:
        return 1, 2


class Graph:
    """A CUDA graph that counts who let it go."""

    reset_times = 0

    def pool(self) -> int:
        return 0

    def replay(self) -> None:
        """Leave everything where it is."""

    def reset(self) -> None:
        type(self).reset_times += 1


class Stream:
    """A CUDA stream: everything has happened already."""

    def __init__(self, device: str) -> None:
        self.device = device

    def wait_stream(self, other: "Stream") -> None:
        """Return at once."""


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    graph_runner.recording_stream.cache_clear()
    monkeypatch.setattr(Graph, "reset_times", 0)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, pool, stream: nullcontext())


@pytest.fixture
def decoder(tmp_path: Any) -> Decoder:
    from tiny import write_config

    spec = read_spec(str(write_config(tmp_path, "llama")), layers=1)
    weights = TwinWeights("cpu", torch.float32, spec.norm_offset)
    return load_decoder(spec, weights, room=8, device="cpu", dtype=torch.float32)


def test_what_a_graph_works_in_lives_as_long_as_the_graph() -> None:
    run = Workspace()
    alive = weakref.ref(run)
    recorded = RecordedPass(run, (), "cpu")
    del run
    assert alive() is not None  # else another tensor would be put where the graph writes
    del recorded
    assert alive() is None


@torch.inference_mode()
def test_a_runner_that_nobody_needs_is_gone_at_once_with_its_cache(decoder: Decoder) -> None:
    gc.collect()
    gc.disable()
    try:
        runner = GraphRunner(decoder, batch=1, room=8, prompt=4)
        cache = weakref.ref(runner.cache)
        del runner
        assert cache() is None
    finally:
        gc.enable()


def test_graphs_go_at_the_end_of_a_run(decoder: Decoder) -> None:
    generate(decoder, [[5, 6, 7], [8, 9, 10]], 2, micro_batches=2, runner=GraphRunner)
    assert Graph.reset_times == 4  # a step and a prefill for each micro-batch


def test_graphs_go_after_an_error_too(decoder: Decoder) -> None:
    class Failing(GraphRunner):
        def step(self, x: Any) -> Any:
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        generate(decoder, [[5, 6, 7]], 2, runner=Failing)
    assert Graph.reset_times == 2


def test_a_runner_without_graphs_has_nothing_to_let_go(decoder: Decoder) -> None:
    generate(decoder, [[5, 6, 7]], 2, runner=Runner)
    assert Graph.reset_times == 0
