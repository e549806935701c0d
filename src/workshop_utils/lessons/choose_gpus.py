"""Notebook 02: a centre's GPUs beside what a model needs, how fast they are, and which are free."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workshop_utils.cluster.gpus_command import node_lines, summary
from workshop_utils.cluster.nodes import Node, ask_nodes, read_nodes
from workshop_utils.cluster.offers import MEMORY_EACH_BYTES, offers
from workshop_utils.cluster.ood_form import form_entries
from workshop_utils.cluster.request import request_of
from workshop_utils.cluster.sbatch_script import render
from workshop_utils.cluster.site import VARIABLE, Site, find_site
from workshop_utils.errors import WorkshopError
from workshop_utils.figures.gpus_and_needs import GpuBar, gpus_and_needs_figure
from workshop_utils.figures.link_lines import link_lines_figure
from workshop_utils.figures.picture import Picture
from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.lessons.table import Table
from workshop_utils.measure.measurement import load_measurements
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.planner.layout import Layout
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.plan import Plan, Planning
from workshop_utils.planner.planning import plan
from workshop_utils.planner.speed import Replica, Text, read_bytes, runner_of, runners
from workshop_utils.planner.wanted import ANSWER_TOKENS, Wanted
from workshop_utils.units import GB, format_gib

# The most complete file that ships, where a reader's centre has not said which is its own.
SITE = "uva"
QUEUE = "queue_of_a_test_cluster.json"
RANKS = (1, 2, 4, 8)
HALF_BYTES = 2
# Of the recorded runs, those that one reader at a time would see.
SPEED_FILES = (
    "one_h100_workshop",
    "two_h200_workshop",
    "two_h200_vllm",
    "two_h100_references",
)
SPEED_MODELS = ("llama-3.1-8b", "mistral-small-24b")
PLAIN = "transformers, eager"
SPEED_ENGINES = ("this workshop", "vLLM", PLAIN)


def lesson_site() -> Site:
    """Return the site that WORKSHOP_SITE names, else the one that ships complete."""
    return find_site(os.environ.get(VARIABLE) or SITE)


def site_table(site: Site) -> Table:
    """Return what the site's GPUs are, the largest memory first as the file has them."""
    rows = [
        (
            each.name, each.link, each.partition.name,
            format_gib(each.gpu.usable_bytes), f"{each.gpu.bandwidth_gb_per_s:,.0f}",
            f"{each.nodes} × {each.per_node}", f"{each.gpu.compute_capability}",
            "yes" if each.gpu.native_bf16 else "no",
        )
        for each in site.gpus
    ]  # fmt: skip
    headers = (
        "GPU", "link", "partition", "usable memory", "bandwidth, GB/s", "nodes × GPUs", "compute capability",
        "bfloat16",
    )  # fmt: skip
    return Table(headers, rows, f"{site.title}, from {site.path.name}.", text_columns=3)


def needs_figure(site: Site, model: str, tokens: int, dtypes: Sequence[str]) -> Picture:
    """Draw the site's GPUs and what one prompt of so many tokens needs in each precision, as planned for."""
    wanted = Wanted(find_architecture(model), tokens, min(ANSWER_TOKENS, max(1, tokens // 2)))
    needs = {dtype: needed_bytes(wanted, dtype) for dtype in dtypes}
    bars = [GpuBar(each.name, each.gpu.usable_bytes, reach_words(each.gpu, needs)) for each in site.gpus]
    return gpus_and_needs_figure(bars, needs, f"{model}, {tokens:,} tokens: which GPU holds it alone?")


def needed_bytes(wanted: Wanted, dtype: str) -> int:
    """Return what the program that the planner would take needs for one prompt on one GPU."""
    own = runner_of(wanted.architecture, "transformers", dtype).name == "this workshop"
    found = estimate(
        wanted.architecture, tokens=wanted.tokens, new_tokens=wanted.new_tokens, dtype=dtype,
        cache="static" if own else None,
    )  # fmt: skip
    return found.process_bytes


def reach_words(gpu: Gpu, needs: dict[str, int]) -> str:
    """Return the precisions that fit; a GPU without bfloat16 computes in float16, which is as large."""
    names = {"bfloat16": "bfloat16" if gpu.native_bf16 else "float16"}
    fits = [names.get(dtype, dtype) for dtype, size in needs.items() if size <= gpu.usable_bytes]
    return ", ".join(fits) if fits else "not alone"


@dataclass(frozen=True)
class RecordedSpeed:
    """A recorded run of one GPU and one prompt beside the limit that its bandwidth sets."""

    model: str
    gpu: str
    engine: str
    limit: float
    tokens_per_s: float


def recorded_speeds(folder: str = "recorded") -> list[RecordedSpeed]:
    """Return the recorded runs of one GPU, batch 1, short prompt."""
    found = []
    for name in SPEED_FILES:
        for run in load_measurements(f"{folder}/{name}.json"):
            settings = run.settings
            wanted = (
                settings.get("ranks", 1) == 1 and settings["batch"] == 1 and settings["tokens"] == 128
                and settings["engine"] in SPEED_ENGINES and settings["model"] in SPEED_MODELS
                and "without" not in run.what and "sums by" not in run.what
            )  # fmt: skip
            if wanted:
                gpu = find_gpu(run.hardware.rpartition("× ")[2])
                limit = speed_limit(settings["model"], gpu.bandwidth_gb_per_s)
                speed = run.values["tokens_per_s"].value
                found.append(RecordedSpeed(settings["model"], gpu.name, settings["engine"], limit, speed))
    return sorted(found, key=lambda each: (each.model, each.gpu, -each.tokens_per_s))


def speed_limit(model: str, gb_per_s: float) -> float:
    """Return the tokens a second at which one sequence would be decoded, if only weights were read."""
    shape = find_architecture(model)
    weights = HALF_BYTES * count_parameters(shape).total
    return gb_per_s * GB / read_bytes(shape, weights, 1)


def speeds_table(speeds: Sequence[RecordedSpeed]) -> Table:
    """Return limit and recorded speed side by side."""
    rows = [
        (
            each.model, each.gpu, each.engine, f"{each.limit:.0f}", f"{each.tokens_per_s:.1f}",
            f"{each.tokens_per_s / each.limit:.0%}",
        )
        for each in speeds
    ]  # fmt: skip
    headers = ("model", "GPU", "engine", "limit, tokens/s", "recorded, tokens/s", "of the limit")
    caption = "One prompt, bfloat16. Limit: the data sheet's bandwidth / bytes of weights that a token reads."
    return Table(headers, rows, caption, text_columns=3)


def recorded_speed(model: str, gpu: str, engine: str) -> float:
    """Return one recorded speed in tokens a second."""
    found = {(each.model, each.gpu, each.engine): each.tokens_per_s for each in recorded_speeds()}
    if (model, gpu, engine) not in found:
        choices = "; ".join(", ".join(key) for key in found)
        raise WorkshopError(f"there is no recorded run of {model}, {gpu}, {engine}; there are {choices}.")
    return found[model, gpu, engine]


def links_figure(site: Site, model: str, prompt: int) -> Picture:
    """Draw how tensor parallel prefill is expected to scale on one type of the site, over either link."""
    shape = find_architecture(model)
    several = [each for each in offers(site) if each.per_node > 1]
    offer = max(several, key=lambda each: (each.link == "nvlink", each.per_node, each.nodes))
    sizes = [size for size in RANKS if size <= offer.per_node]
    lines = {}
    for link, words in (("nvlink", "NVLink"), ("pcie", "PCIe")):
        if link == "pcie" or offer.link == "nvlink":
            linked = replace(offer, link=link)  # type: ignore[arg-type]
            name = f"{offer.name} over {words}"
            lines[name] = {size: prefill_seconds(shape, linked, size, prompt) for size in sizes}
    note = "expected: roofline and measured shares; sums over PCIe and over more than two GPUs are assumed"
    return link_lines_figure(lines, f"{model}: the first token of a prompt of {prompt:,} tokens", note)


def prefill_seconds(shape: Architecture, offer: Offer, ranks: int, prompt: int) -> float:
    """Return the expected seconds to the first token of one prompt on vLLM."""
    weights = HALF_BYTES * count_parameters(shape).total
    replica = Replica(shape, runners()["vLLM"], offer, Layout(tensor=ranks), weights)
    return replica.speed(Text(1, prompt, 1)).prefill_s


@dataclass(frozen=True)
class Queue:
    """Nodes as Slurm saw them, and where that comes from."""

    nodes: tuple[Node, ...]
    source: str


def recorded_queue(folder: str = "recorded") -> Queue:
    """Return the recorded state of a busy cluster."""
    fields = json.loads(Path(folder, QUEUE).read_text(encoding="utf-8"))
    source = f"Recorded, {fields['date']}: {fields['what']} (Slurm {fields['versions']['slurm']})"
    return Queue(read_nodes("\n".join(fields["lines"])).nodes, source)


def queue_now(folder: str = "recorded") -> Queue:
    """Return what Slurm says now, or where there is none the recorded state."""
    if shutil.which("sinfo"):
        try:
            return Queue(ask_nodes().nodes, "This cluster, now")
        except WorkshopError:
            pass
    return recorded_queue(folder)


def queue_table(queue: Queue, site: Site) -> Table:
    """Return free and usable GPUs by type, and the node that has most."""
    rows = [
        (row["type"], f"{row['total']}", f"{row['free']}", f"{row['usable']}", f"{row['usable_on_one_node']}")
        for row in summary(queue.nodes, site.cores_per_gpu, MEMORY_EACH_BYTES)
    ]
    headers = ("type", "GPUs", "free", "usable", "most on one node")
    each = f"{site.cores_per_gpu} cores and {MEMORY_EACH_BYTES / GB:.0f} GB of main memory"
    return Table(headers, rows, f"Usable: with {each} for each GPU. {queue.source}.")


def why_table(queue: Queue, site: Site) -> Table:
    """Return the nodes whose free GPUs cannot all be had, and why."""
    lines = node_lines(queue.nodes, site.cores_per_gpu, MEMORY_EACH_BYTES)
    rows = [
        (line["node"], line["type"], line["why"], f"{line['free']}", f"{line['usable']}")
        for line in lines
        if line["why"]
    ]
    return Table(("node", "type", "why", "free", "usable"), rows, queue.source + ".", text_columns=3)


def plans_for(site: Site, queue: Queue, model: str, tokens: int, **more: Any) -> Planning:
    """Return the planner's answers for the lesson's cell; ``more`` are the other fields of ``Wanted``."""
    answer = min(ANSWER_TOKENS, max(1, tokens // 2))
    return plan(
        Wanted(find_architecture(model), tokens, answer, **more), offers(site, queue.nodes), site.torch_build
    )


def plans_table(planning: Planning, most: int = 6) -> Table:
    """Return the first plans, each with its why."""
    rows = [
        (
            f"{number}", f"{each.gpus} × {each.offer.name}", each.layout.words(), each.dtype, each.why,
            f"{each.tokens_per_s:.0f} ({each.low:.0f} to {each.high:.0f})", f"{each.seconds / 3600:.1f} h",
            f"{each.gpu_hours:.1f}",
        )
        for number, each in enumerate(planning.plans[:most], 1)
    ]  # fmt: skip
    headers = (
        "", "GPUs", "split", "precision", "why", "answer tokens/s, prompts included (range)", "time",
        "GPU-hours",
    )  # fmt: skip
    rest = len(planning.plans) - len(rows)
    caption = (
        f"{rest} more plans; {planning.considered} layouts were considered. TP: GPUs that share every layer; "
        "PP: a part of the layers each; DP: copies that share the prompts."
    )
    return Table(headers, rows, caption, text_columns=5)


def refused_table(planning: Planning, most: int = 8) -> Table:
    """Return the first refusal of one GPU of each type, the reason, and the nearest that works."""
    first: dict[str, tuple[str, ...]] = {}
    for each in sorted(planning.refused, key=lambda refusal: refusal.layout.gpus):
        if each.layout.gpus == 1:
            row = (each.offer.name, each.layout.words(), each.dtype, each.reason, each.nearest)
            first.setdefault(each.offer.name, row)
    headers = ("GPU", "split", "precision", "does not work because", "nearest that does")
    return Table(headers, list(first.values())[:most], text_columns=5)


@dataclass(frozen=True, repr=False)
class Script:
    """A shell script, coloured where a notebook shows it."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"````bash\n{self.text}\n````"


def script_of(chosen: Plan, site: Site) -> Script:
    """Return the job of a plan."""
    return Script(render(request_of(chosen, site), site))


def form_table(chosen: Plan, site: Site) -> Table:
    """Return the entries of the site's Open OnDemand form, or why the form cannot have this plan."""
    try:
        entries = form_entries(request_of(chosen, site), site)
    except WorkshopError as error:
        return Table((), (), f"Not through Open OnDemand: {error}")
    caption = f"{site.form.get('url', '')}: starts JupyterLab on such a GPU; the script is not run by it."
    return Table(("field", "entry"), entries, caption, text_columns=2)
