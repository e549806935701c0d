"""The slides' rule of thumb beside the estimate, with the difference in words."""

import math
from html import escape

from workshop_utils.memory.estimate import Estimate
from workshop_utils.memory.precisions import KV_BITS, find_precision
from workshop_utils.memory.slide_rule import OVERHEAD, SlideRule, slide_rule
from workshop_utils.models.architecture import Architecture
from workshop_utils.units import GB, format_gb
from workshop_utils.widgets.style import box_html
from workshop_utils.widgets.words import difference


def slide_html(architecture: Architecture, result: Estimate, ideal_cache_bytes: int) -> str:
    """Return a table of weights, cache, the rest and the total by the rule and by one replica's estimate."""
    workload = result.workload
    replica = result.per_gpu[: len(result.per_gpu) // workload.data_parallel]
    rule, batch = rule_for(architecture, result), workload.replica_batch
    slide_weights, slide_cache = rule.weights_gb * GB, rule.kv_cache_gb * batch * GB
    weights = sum(rank.bytes_of("weights") for rank in replica)
    total = sum(rank.process_bytes for rank in replica)
    fills = "max_concurrency" in result.figures
    cache = (
        ideal_cache_bytes // workload.data_parallel if fills else sum(r.bytes_of("kv_cache") for r in replica)
    )
    rows = [
        row_html("Weights", slide_weights, weights),
        row_html(f"KV cache{' (ideal)' if fills else ''}", slide_cache, cache),
    ]
    if not fills:
        rest = f'<td class="number">{format_gb(total - weights - cache)}</td>'
        rows += [
            f'<tr><th>Everything else</th><td class="number">left out</td>{rest}<td></td></tr>',
            row_html("Total", slide_weights + slide_cache, total, "sum"),
        ]
    return box_html(
        f"<h4>The slide's rule beside it{scope(result)}</h4>",
        '<table><tr><td></td><th class="number">Slide</th><th class="number">Here</th>'
        f"<th>The slide says</th></tr>{''.join(rows)}</table>",
        f'<div class="quiet">{escape(" ".join(reasons(result, slide_cache, cache, fills)))}</div>',
    )


def rule_for(architecture: Architecture, result: Estimate) -> SlideRule:
    """Return the rule for one sequence. It takes the whole bits of a format: 4 for one of 4.5 with scales."""
    return slide_rule(
        parameters=result.parameters,
        layers=len(architecture.layers),
        embedding_width=architecture.hidden_size,
        bytes_per_value=math.floor(find_precision(result.workload.dtype).bits) / 8,
        tokens=result.workload.tokens,
    )


def row_html(name: str, slide: float, here: float, kind: str = "") -> str:
    """Return one row with the difference, seen from the slide."""
    return (
        f'<tr class="{kind}"><th>{name}</th><td class="number">{format_gb(slide)}</td>'
        f'<td class="number">{format_gb(here)}</td><td>{difference(slide, here)}</td></tr>'
    )


def scope(result: Estimate) -> str:
    """Say what is summed up, where there are several GPUs."""
    stages, replicas = len(result.per_gpu), result.workload.data_parallel
    if stages == 1:
        return ""
    together = f"its {stages // replicas} GPUs together" if stages > replicas else "one GPU"
    return f", {'one replica, ' if replicas > 1 else ''}{together}"


def reasons(result: Estimate, slide_cache: float, cache: float, fills: bool) -> list[str]:
    """Return why the two differ, one sentence each."""
    found = [f"The rule adds {(OVERHEAD - 1) * 100:.0f} % to the weights, whatever the length."]
    if slide_cache > cache * 1.1:
        found.append(
            "Its cache has the whole embedding width for every layer and token; grouped KV heads, latents "
            "and sliding windows keep less."
        )
    if find_precision(result.workload.dtype).bits < KV_BITS[result.workload.kv_dtype]:
        found.append("It shrinks the cache together with the weights, which no format for weights does.")
    if fills:
        found.append("It knows no engine that fills its share of the GPU, so there is no total to compare.")
    else:
        found.append("It leaves out activations, masks, the allocator's reserve and the CUDA context.")
    if result.figures.get("cpu_layers") or result.figures.get("disk_layers"):
        found.append("What is offloaded to host and disk is not in the figures of this estimate.")
    if result.workload.replica_batch > 1:
        found.append(
            f"It is made for one sequence; here its cache is taken {result.workload.replica_batch:,} times."
        )
    return found
