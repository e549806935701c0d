"""Notebook 01: the slide's rule, exact Gemma 3, and recorded runs beside what is predicted of them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from workshop_utils.figures.recorded_cases import NEAR, RecordedCase
from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.lessons.table import Table
from workshop_utils.measure.measurement import Measurement
from workshop_utils.memory.engines.transformers import stage_shards
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.memory.phases import generation_of
from workshop_utils.memory.slide_rule import SlideCell, slide_rule, slide_table
from workshop_utils.memory.tensors.generate import peaks
from workshop_utils.memory.tensors.stage import stage_of
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import GB

# What makes runs of one recording different; and of these, what a label names.
CASE = ("model", "tokens", "batch", "attention", "cache", "pipeline_parallel")
UNUSUAL = ("eager", "static")
# The older recording's word for a model without its image tower.
TEXT_ONLY = "text model only"


def slide_table_view() -> Table:
    """Return the slide's 24 totals; where the rule gives another total, that one and the difference."""
    cells = slide_table()
    rows = [
        (label, *(slide_cell(cell) for cell in row))
        for label, row in groupby(cells, key=lambda cell: cell.label)
    ]
    columns = dict.fromkeys(f"{cell.tokens // 1024}K tokens" for cell in cells)
    same = sum(cell.difference_gb == 0 for cell in cells)
    odd = [cell for cell in cells if cell.printed_total_gb != cell.published.total_gb]
    rounded = "".join(
        f" {cell.label} prints {cell.printed_total_gb:g} for the sum {cell.published.weights_gb:g} + "
        f"{cell.published.kv_cache_gb:g}."
        for cell in odd
    )
    caption = (
        f"GB (decimal), the slide's figure first. ✓: the rule gives the same, in {same} of {len(cells)} "
        f"cells.{rounded}"
    )
    return Table(("model", *columns), rows, caption)


def slide_cell(cell: SlideCell) -> str:
    printed = f"{cell.printed_total_gb:.1f}"
    if cell.difference_gb == 0:
        return f"{printed} ✓"
    return f"{printed}; rule {cell.rule.total_gb:.1f} ({cell.difference_gb:+.1f})"


def gemma_table(tokens: int) -> Table:
    """Return the three Gemma 3 models: exact weights and cache in bfloat16 beside the slide's."""
    rows = []
    for cell in slide_table():
        if cell.tokens != tokens or "FP16" not in cell.label:
            continue
        shape = find_architecture(cell.model)
        exact = estimate(shape, tokens=tokens)
        cache = exact.kv_cache_bytes / GB
        rows.append(
            (
                cell.model,
                f"{count_parameters(shape).total:,}",
                f"{cell.published.weights_gb:.1f}",
                f"{exact.weights_bytes / GB:.1f}",
                f"{cell.published.kv_cache_gb:.1f}",
                f"{cache:.1f}",
                f"{cell.published.kv_cache_gb / cache:.0f} ×",
            )
        )
    headers = (
        "model", "parameters", "weights: slide", "weights: exact", "KV: slide", "KV: exact", "slide / exact",
    )  # fmt: skip
    return Table(headers, rows, f"GB (decimal), 2 bytes a value, {tokens:,} tokens, image tower included.")


def recorded_cases(runs: Sequence[Measurement]) -> tuple[RecordedCase, ...]:
    """Return each recorded run, its ranks together, with what the estimate and the slide's rule predict."""
    ranks = groupby(runs, key=lambda run: [value for key, value in run.settings.items() if key in CASE])
    return tuple(recorded_case(tuple(group)) for _, group in ranks)


def recorded_case(ranks: Sequence[Measurement]) -> RecordedCase:
    """Return one run; ``ranks`` are the measurements of its GPUs."""
    settings, shape, gpu = ranks[0].settings, shape_of(ranks[0]), gpu_of(ranks[0])
    predicted = estimate_of(ranks[0])
    tokens, batch = predicted.workload.tokens, predicted.workload.batch
    slide = slide_rule(
        parameters=count_parameters(shape).total,
        layers=len(shape.layers),
        embedding_width=shape.hidden_size,
        bytes_per_value=2,
        tokens=tokens * batch,
    )
    ways = "".join(f" {settings[key]}" for key in ("attention", "cache") if settings.get(key) in UNUSUAL)
    return RecordedCase(
        label=f"{shape.name}, {f'{batch} × ' if batch > 1 else ''}{settings['tokens']:,} tokens{ways}",
        measured_bytes=sum(rank.bytes_of("process") for rank in ranks),
        estimate_bytes=sum(rank.process_bytes for rank in predicted.per_gpu),
        slide_bytes=round(slide.total_gb * GB),
        room_bytes=gpu.usable_bytes * len(ranks),
        out_of_memory=any(rank.settings.get("outcome") == "out_of_memory" for rank in ranks),
        estimate_fits=predicted.fits(gpu),
    )


def estimate_of(run: Measurement) -> Estimate:
    """Return the prediction of a recorded run on its GPU.

    ``tokens`` of a recording with ``new_tokens`` is the prompt, else prompt and answer together.
    """
    settings = run.settings
    answer = {"new_tokens": settings["new_tokens"]} if "new_tokens" in settings else {}
    options = {key: settings[key] for key in CASE[2:] if key in settings}
    tokens = settings["tokens"] + sum(answer.values())
    return estimate(shape_of(run), tokens=tokens, gpu=gpu_of(run), **options, **answer)


def shape_of(run: Measurement) -> Architecture:
    """Return the model's shape, without its image tower where the run left that out."""
    shape = find_architecture(run.settings["model"].lower().replace(" ", "-"))
    return replace(shape, vision=None) if TEXT_ONLY in run.what else shape


def gpu_of(run: Measurement) -> Gpu:
    """Return the type of GPU that a recording names, such as ``2 × NVIDIA H200``."""
    name = run.hardware.rpartition("× ")[2].removeprefix("one ")
    return find_gpu(name.partition(" (")[0])


def recordings_note(*recordings: Sequence[Measurement]) -> str:
    """Return where and when some recordings were made, one line for each."""
    lines = []
    for runs in recordings:
        hardware = sorted({run.hardware.rpartition("× ")[2] for run in runs})
        versions = ", ".join(f"{name} {runs[0].versions[name]}" for name in ("torch", "transformers"))
        dates = sorted({run.date[: len("2026-01-31")] if run.date else "date not noted" for run in runs})
        lines.append(f"recorded on {' and '.join(hardware)}; {versions}; {' and '.join(dates)}")
    return "\n".join(lines)


def predictions_table(cases: Sequence[RecordedCase]) -> Table:
    """Return how well the estimate and the slide's rule did over all recorded runs."""
    ended = [case for case in cases if not case.out_of_memory]
    rows = []
    for name, key in (("the slide's rule", "slide"), ("the estimate", "estimate")):
        ratios = [getattr(case, f"{key}_ratio") for case in ended]
        right = sum(getattr(case, f"{key}_fits") != case.out_of_memory for case in cases)
        near = sum(1 / NEAR <= ratio <= NEAR for ratio in ratios)
        over = sum(ratio > NEAR for ratio in ratios)
        rows.append(
            (
                name,
                f"{near} of {len(ratios)}",
                f"{over}",
                f"{len(ratios) - near - over}",
                f"{min(ratios):.2f} × to {max(ratios):.2f} ×",
                f"{right} of {len(cases)}",
            )
        )
    headers = ("prediction", "within 10 %", "too high", "too low", "from … to", "right about whether it fits")
    failed = len(cases) - len(ended)
    return Table(headers, rows, f"{len(cases)} recorded runs, of which {failed} ran out of memory.")


def phases_table(run: Measurement) -> Table:
    """Return what is alive at the fullest moment of prefill and of decoding, in GB, and what was measured."""
    predicted = estimate_of(run)
    workload, rank = predicted.workload, predicted.fullest
    (shard,) = stage_shards(shape_of(run), workload)
    found = peaks(stage_of(shard), generation_of(workload), 2)
    moments = [found.prefill, *([found.decode] if found.decode else [])]
    workspace = sum(term.bytes for term in rank.needed if term.name == "cuBLAS workspace")
    lines = [
        ("weights", [rank.bytes_of("weights") for _ in moments]),
        ("K and V that stand then", [moment.cache for moment in moments]),
        ("attention mask", [moment.masks for moment in moments]),
        ("inputs, embedding, positions", [moment.beside for moment in moments]),
        ("inside one layer, or the logits", [moment.inside for moment in moments]),
        ("cuBLAS workspace", [workspace for _ in moments]),
    ]
    sums = [sum(column) for column in zip(*(sizes for _, sizes in lines), strict=True)]
    measured = [run.bytes_of(f"{phase}_peak") for phase in ("prefill", "decode")[: len(moments)]]
    lines += [("predicted peak", sums), ("measured peak", measured)]
    return Table(
        ("", "prefill", "decoding"),
        [(name, *(f"{size / GB:.2f}" for size in sizes)) for name, sizes in lines],
        f"GB (decimal). {shape_of(run).name}, {run.settings['tokens']:,} tokens; {run.label}",
    )
