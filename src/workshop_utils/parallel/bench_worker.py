"""What every rank of ``workshop bench run`` does: load its share, run it, hand back what it saw.

Started by torchrun, or alone: ``python bench_worker.py CASE`` with a case as JSON. It is one replica; data
parallel runs start several, each with the folder of the queue of prompts and its number.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from workshop_utils.measure.process_memory import CpuMemory, GpuMemory, MemoryMeter
from workshop_utils.measure.provenance import device_name
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.bench_case import BenchCase, case_from_json, random_prompts
from workshop_utils.parallel.bench_check import CHECKED_TOKENS, compare_with_plain
from workshop_utils.parallel.bench_replica import replica_run
from workshop_utils.parallel.ceiling import copy_bytes_per_second
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.energy import EnergyMeter
from workshop_utils.parallel.generate import Generation, generate
from workshop_utils.parallel.launch import notes
from workshop_utils.parallel.layout import Layout
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.padded_heads import PaddedHeads, with_kv_heads
from workshop_utils.parallel.pipeline import layers_of_stages
from workshop_utils.parallel.plain import generate_plain, load_model
from workshop_utils.parallel.runner import runner_for
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.weights import CheckpointWeights, TwinWeights, Weights
from workshop_utils.parallel.world import World, join

WARM_UP_TOKENS = 4


def main(case: BenchCase, folder: str = "", replica: str = "0") -> None:
    """Run one case on this rank, or as a replica answer prompts of the queue in ``folder``."""
    with join(Layout(1, case.pipeline, case.tensor)) as world:
        meter = GpuMemory(torch.cuda.current_device()) if world.device != "cpu" else CpuMemory()
        notes.say("loading the weights")
        if case.predicted_bytes:
            notes.memory(predicted_bytes=case.predicted_bytes[world.place.rank])
        if folder:
            found = replica_run(case, share_of(case, world), world, meter, Path(folder), int(replica))
        else:
            found = (plain_run if case.strategy == "plain" else split_run)(case, world, meter)
        found |= {"stage": world.place.stage, "tensor_rank": world.place.tensor}
        found["hardware"] = device_name(world.device)
        notes.hand_back(found)


def plain_run(case: BenchCase, world: World, meter: MemoryMeter) -> dict[str, Any]:
    """Run transformers' own ``generate()``."""
    model = load_model(case.model, twin=case.twin, device=world.device, dtype=getattr(torch, case.dtype))
    prompts = random_prompts(case, case.batch)

    def once(new: int, progress: Callable[[int], None]) -> Generation:
        return generate_plain(model, prompts, new, progress)

    architecture = find_architecture(case.model)
    found = timed(case, once, world, meter) | {
        "weight_bytes": sum(parameter.nbytes for parameter in model.parameters()),
        "cache_bytes": kv_cache_bytes(architecture, case.tokens + case.new // 2, case.batch, case.dtype),
        "unread_bytes": unread_bytes(model, architecture, case.batch),
    }
    return found | {"max_abs_logit_difference": 0.0, "greedy_tokens_equal": True} if case.check else found


def unread_bytes(model: Any, architecture: Architecture, batch: int) -> int:
    """Return the bytes of a transformers model that a step of ``batch`` sequences need not read.

    Counted as ``Decoder.unread_bytes`` does, so that plain transformers has the same least time of a step.
    """
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    unread = 0 if head is not None and head.weight is table else int(table.nbytes)
    experts = next((layer.experts for layer in architecture.layers if layer.experts), None)
    if experts is None:
        return unread
    left = (1 - experts.active / experts.routed) ** batch
    # Shared experts, which every token passes, have names of their own.
    return unread + int(left * sum(p.nbytes for name, p in model.named_parameters() if ".experts." in name))


def split_run(case: BenchCase, world: World, meter: MemoryMeter) -> dict[str, Any]:
    """Run our decoder, split as the case says."""
    decoder = share_of(case, world)
    prompts = random_prompts(case, case.batch)
    runner = runner_for(decoder, case.tricks)

    def once(new: int, progress: Callable[[int], None], keep_logits: bool = False) -> Generation:
        return generate(
            decoder, prompts, new, link=world.link, micro_batches=case.micro_batches, runner=runner,
            keep_logits=keep_logits, progress=progress,
        )  # fmt: skip

    found = timed(case, once, world, meter) | {
        "weight_bytes": decoder.weight_bytes,
        "cache_bytes": decoder.cache_bytes(case.batch, case.tokens + case.new // 2),
        "unread_bytes": decoder.unread_bytes(-(-case.batch // case.micro_batches)),
    }
    if not case.check:
        return found
    notes.say("checking against plain transformers")
    made = once(min(case.new, CHECKED_TOKENS), lambda done: None, keep_logits=True)
    return found | compare_with_plain(case, prompts, made, world)


def timed(
    case: BenchCase, once: Callable[..., Generation], world: World, meter: MemoryMeter
) -> dict[str, Any]:
    """Return the times of every repeat and the highest memory of all, after a warm-up."""
    notes.say("warming up")
    once(min(case.new, WARM_UP_TOKENS), lambda done: None)
    bandwidth = copy_bytes_per_second(world.device)
    meter.settle()
    meter.reset_peak()
    notes.say("measuring")
    runs, energy = [], EnergyMeter(world.device)
    for repeat in range(case.repeats):

        def progress(done: int, before: int = repeat * case.new) -> None:
            notes.progress(before + done, case.repeats * case.new)

        runs.append(once(case.new, progress))
    reading = meter.read()
    return {
        "ttft_ms": [1000 * run.ttft_seconds for run in runs],
        "tpot_ms": [1000 * run.decode_seconds / max(1, case.new - 1) for run in runs],
        "peak_bytes": reading.peak_bytes or reading.held_bytes,
        "copy_bytes_per_second": bandwidth,
        "joules": energy.joules(),
    }


def share_of(case: BenchCase, world: World) -> Decoder:
    """Load what this rank holds."""
    spec = read_spec(case.model)
    dtype = getattr(torch, case.dtype)
    weights: Weights = (
        TwinWeights(world.device, dtype, spec.norm_offset)
        if case.twin
        else CheckpointWeights(Path(spec.model), world.device, dtype)
    )
    if case.kv_heads is not None:
        padded = with_kv_heads(spec, case.kv_heads)
        weights, spec = PaddedHeads(weights, spec), padded
    layers = layers_of_stages(spec, case.pipeline)
    return load_decoder(
        spec, weights, layers=layers[world.place.stage], tensor=world.tensor, room=case.tokens + case.new,
        device=world.device, dtype=dtype,
    )  # fmt: skip


if __name__ == "__main__":
    main(case_from_json(sys.argv[1]), *sys.argv[2:])
