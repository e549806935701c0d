"""A replica of a data parallel run: takes prompts from the queue, answers them, takes the next."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workshop_utils.measure.process_memory import MemoryMeter
from workshop_utils.parallel.bench_case import BenchCase, random_prompts
from workshop_utils.parallel.bench_check import CHECKED_TOKENS, compare_with_plain
from workshop_utils.parallel.ceiling import copy_bytes_per_second
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.energy import EnergyMeter
from workshop_utils.parallel.generate import generate
from workshop_utils.parallel.launch import notes
from workshop_utils.parallel.prompt_service import PromptClient
from workshop_utils.parallel.runner import runner_for
from workshop_utils.parallel.world import World

WARM_UP_TOKENS = 4


def replica_run(  # noqa: PLR0913, PLR0917 - what to run, on what, and where the prompts are
    case: BenchCase, decoder: Decoder, world: World, meter: MemoryMeter, folder: Path, number: int
) -> dict[str, Any]:
    """Answer prompts until all have their answers; returns this rank's times and memory."""
    options: dict[str, Any] = {"link": world.link, "micro_batches": case.micro_batches}
    options["runner"] = runner_for(decoder, case.tricks)
    notes.say("warming up")
    prompts = [[3] * case.tokens] * case.batch
    generate(decoder, prompts, min(case.new, WARM_UP_TOKENS), **options)
    bandwidth = copy_bytes_per_second(world.device)
    meter.settle()
    meter.reset_peak()
    notes.say("answering")
    runs, energy = [], EnergyMeter(world.device)
    client = PromptClient(folder, number) if world.place.rank == 0 else None
    for taken in shared(client, case.batch, world):
        made = generate(decoder, list(taken.values()), case.new, **options)
        runs.append(made)
        notes.heartbeat()
        if client is not None:
            client.answer(dict(zip(taken, made.tokens, strict=True)))
    reading = meter.read()
    found = {
        "replica": number,
        "ttft_ms": [1000 * run.ttft_seconds for run in runs],
        "tpot_ms": [1000 * run.decode_seconds / max(1, case.new - 1) for run in runs],
        "peak_bytes": reading.peak_bytes or reading.held_bytes,
        "copy_bytes_per_second": bandwidth,
        "weight_bytes": decoder.weight_bytes,
        "unread_bytes": decoder.unread_bytes(-(-case.batch // case.micro_batches)),
        "cache_bytes": decoder.cache_bytes(case.batch, case.tokens + case.new // 2),
        "joules": energy.joules(),
    }
    if not case.check:
        return found
    notes.say("checking against plain transformers")
    prompts = random_prompts(case, case.batch)
    made = generate(decoder, prompts, min(case.new, CHECKED_TOKENS), keep_logits=True, **options)
    return found | compare_with_plain(case, prompts, made, world)


def shared(client: PromptClient | None, count: int, world: World) -> Iterator[dict[int, list[int]]]:
    """Yield the prompts that the replica's first rank takes, on all its ranks."""
    if world.layout.ranks == 1:
        assert client is not None
        yield from client.batches(count)
        return
    import torch.distributed as dist

    mine = client.batches(count) if client is not None else iter(())
    while True:
        box = [next(mine, {})]
        dist.broadcast_object_list(box, src=0)
        if not box[0]:
            return
        yield box[0]
