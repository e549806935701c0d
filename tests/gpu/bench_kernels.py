"""Are the decode kernels right in bfloat16 on this GPU, and how near to its memory bandwidth do they come?

    PYTHONPATH=src python3 tests/gpu/bench_kernels.py

Every time is that of one launch among many in a CUDA graph, over rotating weights that no cache can hold. The
winners of a small grid of blocks go to ``$OUT/kernels.json``. About 100 s with compilation; on a slow machine
the last shapes are left out.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from measuring import copy_gb_per_s, median_seconds

from workshop_utils.parallel.kernels.decode_attention import decode_attention, workspace_for
from workshop_utils.parallel.kernels.gated_matvec import gated_matvec
from workshop_utils.parallel.kernels.matvec import Blocks, blocks_for, matvec
from workshop_utils.parallel.kernels.rotate import rotate_and_store

sys.path.append(str(Path(__file__).parents[1] / "parallel" / "kernels"))
from gpu_checks import drawn, relative_errors

BUDGET_S, POOL_NUMBERS, LARGEST_ERROR = 90, 3 << 29, 1e-2
DEVICE = torch.device("cuda")
# Hidden size, width of the MLP, vocabulary; both have 32 heads and 8 KV heads of 128.
SIZES = {"Llama 3.1 8B": (4096, 14336, 128256), "Mistral Small 24B": (5120, 32768, 131072)}
HEADS, KV_HEADS, HEAD_DIM, LAYERS, TOKENS = 32, 8, 128, 32, 4096
VECTORS = [Blocks(r, 256 * w, w) for r, w in ((4, 4), (8, 4), (16, 4), (4, 8), (8, 8), (8, 2))]


class Shape(NamedTuple):
    model: str
    name: str
    rows: int
    columns: int
    batch: int = 1

    def weights(self, pool: torch.Tensor) -> list[torch.Tensor]:
        size = self.rows * self.columns
        return list(pool[: pool.numel() // size * size].view(-1, self.rows, self.columns)[:64])

    def launch(self, x: torch.Tensor, weight: torch.Tensor, blocks: Blocks) -> torch.Tensor:
        kernel = gated_matvec if self.name == "gate_up" else matvec
        return kernel(x, weight, norm=x[0], blocks=blocks)


def shapes() -> list[Shape]:
    """Both models whole, then halved for two GPUs; then the first one at larger batches."""
    found = []
    for ranks, (model, (hidden, mlp, vocabulary)) in product((1, 2), SIZES.items()):
        name = f"{model} / {ranks}"
        found += [
            Shape(name, "qkv", (HEADS + 2 * KV_HEADS) * HEAD_DIM // ranks, hidden),
            Shape(name, "o", hidden, HEADS * HEAD_DIM // ranks),
            Shape(name, "gate_up", 2 * mlp // ranks, hidden),
            Shape(name, "down", hidden, mlp // ranks),
            Shape(name, "head", vocabulary // ranks, hidden),
        ]
    return found + [shape._replace(batch=batch) for batch in (2, 4) for shape in found[:5]]


def seconds_each(launch: Callable[[int], object], count: int) -> float:
    launch(0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(count):
            launch(index)
    return median_seconds(graph.replay, DEVICE) / count


def compile_one(job: tuple[Shape, Blocks]) -> None:
    """One compilation serves all weights of a width, so a few rows will do."""
    shape, blocks = job
    shape.launch(drawn(shape.batch, shape.columns), drawn(1024, shape.columns), blocks)


def best_of(shape: Shape, pool: torch.Tensor, ceiling: float) -> dict[str, Any]:
    """Time the grid and torch's bare product; print and return the winner."""
    x, weights, size = drawn(shape.batch, shape.columns), shape.weights(pool), 2 * shape.rows * shape.columns
    count = max(len(weights), min(200, int(2.5e6 * ceiling / size)))

    def speed(launch: Callable[[torch.Tensor], object]) -> float:
        return size / seconds_each(lambda index: launch(weights[index % len(weights)]), count) / 1e9

    grid = dict.fromkeys((blocks_for(shape.rows, shape.columns, shape.batch), *VECTORS))
    speeds = {blocks: speed(lambda w, b=blocks: shape.launch(x, w, b)) for blocks in grid}
    best, linear = max(speeds, key=speeds.__getitem__), speed(lambda w: F.linear(x, w))
    tried = ", ".join(f"{b.rows}/{b.step}/{b.warps} {s:.0f}" for b, s in speeds.items())
    print(f"{shape.model:21} {shape.name:7} {shape.rows:6} x {shape.columns:5} x {shape.batch}:", end=" ")
    print(f"{speeds[best]:.0f} GB/s ({speeds[best] / ceiling:.0%}), linear {linear:.0f}; {tried}", flush=True)
    return shape._asdict() | asdict(best) | {"gb_per_s": speeds[best], "linear": linear}


class Step:
    """All kernels of a Llama 3.1 8B decode step after 4095 tokens; the layers share a few weights."""

    def __init__(self, pool: torch.Tensor) -> None:
        self.weights = {shape.name: shape.weights(pool) for shape in shapes()[:5]}
        self.caches = [drawn(2, 1, KV_HEADS, TOKENS, HEAD_DIM) for _ in range(LAYERS)]
        self.workspace = workspace_for(1, HEADS, KV_HEADS, HEAD_DIM, TOKENS, DEVICE)
        self.first, self.norm = drawn(1, 4096), drawn(4096)
        angles = torch.rand(TOKENS, HEAD_DIM // 2, device=DEVICE)
        self.turns, self.lengths = (angles.cos(), angles.sin()), torch.tensor([TOKENS], device=DEVICE)
        self.positions = self.lengths - 1
        layers = {name: 1 if name == "head" else LAYERS for name in self.weights}
        self.bytes = sum(copies[0].nbytes * layers[name] for name, copies in self.weights.items())
        self.bytes += sum(cache.nbytes for cache in self.caches)

    def run(self, logits: torch.Tensor) -> torch.Tensor:
        hidden = self.first.clone()
        for layer, cache in enumerate(self.caches):
            w = {name: copies[layer % len(copies)] for name, copies in self.weights.items()}
            q = rotate_and_store(
                matvec(hidden, w["qkv"], norm=self.norm), *self.turns, self.positions, *cache, heads=HEADS,
                kv_heads=KV_HEADS, head_dim=HEAD_DIM,
            )  # fmt: skip
            mixed = decode_attention(q, *cache, self.lengths, scale=HEAD_DIM**-0.5, workspace=self.workspace)
            matvec(mixed.view(1, -1), w["o"], residual=hidden, out=hidden)
            gated = gated_matvec(hidden, w["gate_up"], norm=self.norm)
            matvec(gated, w["down"], residual=hidden, out=hidden)
        return matvec(hidden, self.weights["head"][0], out=logits, norm=self.norm)


def timed_step(step: Step, ceiling: float) -> float:
    """Return the GB/s of a whole step."""
    logits = drawn(1, 128256)
    seconds = seconds_each(lambda _: step.run(logits), 1)
    speed = step.bytes / seconds / 1e9
    print(f"step: {seconds * 1e3:.3f} ms, {speed:.0f} GB/s ({speed / ceiling:.0%})")
    return speed


def main() -> int:
    started = time.monotonic()
    ceiling = copy_gb_per_s(DEVICE, DEVICE, 1 << 30)
    print(f"{torch.cuda.get_device_name()}: a copy moves {ceiling:.0f} GB/s", flush=True)
    pool = drawn(POOL_NUMBERS).mul_(0.02)
    step = Step(pool)
    kernels = {(shape.name == "gate_up", shape.columns, shape.batch): shape for shape in shapes()}.values()
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # compilations, and nothing timed
        checks = threads.submit(lambda: list(relative_errors()))
        whole = threads.submit(step.run, drawn(1, 128256))
        jobs = [(shape, blocks) for shape in kernels for blocks in VECTORS]
        compiled = [threads.submit(compile_one, job) for job in jobs]
    errors = [task.exception() for task in [checks, whole, *compiled] if task.exception()]
    print(f"compiled after {time.monotonic() - started:.0f} s; failed: {errors}", flush=True)
    for name, error in checks.result():
        print(f"{'ok ' if error < LARGEST_ERROR else 'BAD'} {name}: {error:.1e}", flush=True)
    speed = timed_step(step, ceiling)
    found = []
    for shape in shapes():
        if time.monotonic() - started > BUDGET_S:
            print(f"no time for {shape}")
            continue
        found.append(best_of(shape, pool, ceiling))
    text = json.dumps({"copy_gb_per_s": ceiling, "step_gb_per_s": speed, "products": found})
    print(text)
    if "OUT" in os.environ:
        Path(os.environ["OUT"], "kernels.json").write_text(text, encoding="utf-8")
    right = all(error < LARGEST_ERROR for _, error in checks.result())
    took = time.monotonic() - started
    print(f"{'all right' if right else 'WRONG'}, {took:.0f} s")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
