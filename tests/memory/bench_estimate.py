"""How quick and how near our estimate is, beside hf-mem and accelerate: run this file with Python.

Not a test. Time: a cold ``workshop estimate`` (CPU seconds, median of twenty processes), and 30 models × 12
GPU types × every layout up to 8 GPUs × 4 contexts in one process. Error: every recorded run on one GPU that
was measured, against each tool's own figure for it, by its library calls on local configs (both commands ask
a hub). hf-mem is not among our requirements: ``pip install hf-mem`` adds its rows.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu, find_gpu, load_gpus
from workshop_utils.measure.measurement import Measurement, load_measurements
from workshop_utils.measure.shape_twin import build_skeleton, twin_config
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.memory.slide_rule import slide_rule
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import GB

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded" / "memory_of_generate.json"
# What any command line tool of ours loads, and cannot do without.
STANDARD_LIBRARY = "import argparse, dataclasses, json, pathlib"
COLD = ["estimate", "gemma-3-27b", "--tokens", "131072", "--json"]
CONTEXTS = (4096, 16384, 65536, 131072)


def main() -> None:
    command, alone = cold_seconds("-m", "workshop_utils", *COLD), cold_seconds("-c", STANDARD_LIBRARY)
    print(
        f"cold `workshop {' '.join(COLD)}`: {command:.3f} s of CPU, median of 20; of these Python and "
        f"`{STANDARD_LIBRARY}` {alone:.3f} s"
    )
    for words, test in (("what a run cannot do without", holds), ("and the allocator, simulated", fits)):
        pairs, seconds = sweep(test)
        print(f"{pairs:,} pairs of layout and GPU type, {words}: {seconds:.2f} s of CPU on one core")
    rows = [
        row
        for row in load_measurements(RECORDED)
        if row.settings["outcome"] == "measured" and row.settings["pipeline_parallel"] == 1
    ]
    print(f"\nprocess memory of {len(rows)} recorded runs on one GPU, error against NVML:")
    for name, tool in tools().items():
        started = time.process_time()
        errors = [(tool(row) - row.bytes_of("process")) / row.bytes_of("process") for row in rows]
        each = (time.process_time() - started) / len(rows) * 1000
        sizes = [abs(error) for error in errors]
        print(
            f"  {name:32} median {statistics.median(sizes):7.2%}  worst {max(errors, key=abs):+8.2%}  "
            f"{each:8.1f} ms each"
        )


def cold_seconds(*words: str) -> float:
    """Return the CPU seconds of a fresh Python with these arguments, median of twenty."""
    found = []
    for _ in range(20):
        before = os.times()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        found.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    return statistics.median(found)


def holds(result: Estimate, gpu: Gpu) -> bool:
    return result.fullest.needed_bytes <= gpu.usable_bytes


def fits(result: Estimate, gpu: Gpu) -> bool:
    return result.fits(gpu)


def sweep(test: Callable[[Estimate, Gpu], bool]) -> tuple[int, float]:
    """Return how many pairs of layout and GPU type were tested, and the CPU seconds."""
    models = [find_architecture(name) for name in catalogue_names()[:30]]
    gpus = load_gpus()[:12]
    started, pairs = time.process_time(), 0
    for architecture in models:
        for tokens in CONTEXTS:
            for data, stages, ranks in layouts(8):
                try:
                    result = estimate(
                        architecture,
                        tokens=tokens,
                        data_parallel=data,
                        pipeline_parallel=stages,
                        tensor_parallel=ranks,
                    )
                except WorkshopError:
                    continue
                pairs += len([test(result, gpu) for gpu in gpus])
    return pairs, time.process_time() - started


def layouts(most: int) -> list[tuple[int, int, int]]:
    """Return every (data, pipeline, tensor) parallel size on up to so many GPUs."""
    sizes = range(1, most + 1)
    return [(d, p, t) for d in sizes for p in sizes for t in sizes if d * p * t <= most]


def tools() -> dict[str, Callable[[Measurement], float]]:
    """Return what predicts the bytes of a recorded run."""
    found: dict[str, Callable[[Measurement], float]] = {
        "workshop estimate": ours,
        "slide rule": slide,
        "accelerate (weights)": accelerate_weights,
    }
    try:
        import hf_mem  # noqa: F401
    except ImportError:
        print("hf-mem is not installed: pip install hf-mem adds its row")
        return found
    return found | {"hf-mem (weights + KV cache)": hf_mem_bytes}


def total_tokens(row: Measurement) -> int:
    return int(row.settings["tokens"] + row.settings["new_tokens"])


def ours(row: Measurement) -> float:
    settings = row.settings
    return estimate(
        find_architecture(settings["model"]),
        tokens=total_tokens(row),
        batch=settings["batch"],
        attention=settings["attention"],
        cache=settings["cache"],
        gpu=find_gpu(row.hardware),
    ).process_bytes


def slide(row: Measurement) -> float:
    architecture = find_architecture(row.settings["model"])
    rule = slide_rule(
        parameters=count_parameters(architecture).total,
        layers=len(architecture.layers),
        embedding_width=architecture.hidden_size,
        bytes_per_value=2,
        tokens=total_tokens(row) * row.settings["batch"],
    )
    return rule.total_gb * GB


@functools.cache
def skeleton(model: str) -> object:
    return build_skeleton(model, attention="eager")


def accelerate_weights(row: Measurement) -> float:
    """What ``accelerate estimate-memory`` prints: the size of the whole model, nothing else."""
    from accelerate.utils import calculate_maximum_sizes

    return calculate_maximum_sizes(skeleton(row.settings["model"]))[0]


@functools.cache
def hf_mem_weights(model: str) -> int:
    from hf_mem.safetensors.metadata import parse_safetensors_metadata

    built, seen, header = skeleton(model), set(), {}
    for name, parameter in built.named_parameters():  # type: ignore[attr-defined]
        if id(parameter) not in seen:
            seen.add(id(parameter))
            header[name] = {"dtype": "BF16", "shape": list(parameter.shape), "data_offsets": [0, 0]}
    return parse_safetensors_metadata({"Transformer": header}).bytes_count


def hf_mem_bytes(row: Measurement) -> float:
    from hf_mem.safetensors.kv_cache import compute_safetensors_kv_cache_size

    model = row.settings["model"]
    built = type(skeleton(model).config)  # type: ignore[attr-defined]
    fields = json.loads(json.dumps(dict(twin_config(model).fields)))
    config = built.from_dict(fields).get_text_config().to_dict()
    cache = compute_safetensors_kv_cache_size(
        config=config, cache_dtype="BF16", max_model_len=total_tokens(row), batch_size=row.settings["batch"]
    )
    return hf_mem_weights(model) + cache


if __name__ == "__main__":
    main()
