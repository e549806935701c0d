"""How long prefill and decode take: the roofline of a GPU, and what runners were measured to reach of it.

A token in decode reads all weights that it passes and the whole KV cache, once; prompt tokens are computed
with. What is left of bandwidth and FLOP/s, what a layer costs beside them and what a sum over tensor ranks
takes was fitted to recorded runs on H100 and H200 (``speeds.json``; ``tests/planner/test_speed.py`` holds the
recordings against it). For every other GPU the same shares are assumed.
"""

import functools
import json
import os
from dataclasses import dataclass, replace
from typing import Any

from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.models.architecture import Architecture
from workshop_utils.planner.layout import Layout
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.work import attention_flops, caches_latents, passed_parameters, read_parts

# Families that the workshop's own runner splits: `parallel/spec.py`, which a test compares.
OWN_FAMILIES = (
    "gemma3", "gemma3_text", "llama", "mistral", "mixtral", "phi3", "qwen2", "qwen3", "qwen3_moe",
)  # fmt: skip
SIXTEEN_BITS = ("bfloat16", "float16")
VALUE_BYTES = 2
BATCHED = 8


@dataclass(frozen=True)
class Runner:
    """What a program reaches. Shares are of the data sheet; times in seconds.

    ``batched_share`` is that of bandwidth from ``BATCHED`` sequences on, whose products are other kernels.
    ``layer_s`` is lost in every layer of a step, ``experts_s`` besides where it has experts, ``sum_s`` in
    each of the two sums of a layer over NVLink, ``pcie_sum_s`` over PCIe, ``hop_s`` between two stages. A
    prefill takes ``prefill_layer_s`` a layer at least: launching it takes so long. ``launches_overlap``: the
    GPU waits for the CPU's launches, so that the longer of both counts and not their sum;
    ``tensor_factor`` and ``stage_factor`` slow those launches down where a layer, or the stack of layers, is
    split. ``range``: how far recorded runs lie from the prediction, at most.
    """

    name: str
    bandwidth_share: float
    batched_share: float
    flops_share: float
    layer_s: float
    experts_s: float
    prefill_layer_s: float
    sum_s: float
    pcie_sum_s: float
    hop_s: float
    link_share: float
    launches_overlap: bool
    tensor_factor: float
    stage_factor: float
    micro_batches: bool
    range: float
    source: str


@dataclass(frozen=True)
class Text:
    """What one replica generates at a time: ``batch`` prompts of ``prompt`` tokens, ``answer`` more each."""

    batch: int
    prompt: int
    answer: int


@dataclass(frozen=True)
class Speed:
    """Seconds to the first token and for each one after it, of one batch on one replica."""

    prefill_s: float
    step_s: float

    def batch_s(self, text: Text) -> float:
        """Return how long a replica takes for one batch of prompts."""
        return self.prefill_s + max(0, text.answer - 1) * self.step_s


@functools.cache
def runners() -> dict[str, Runner]:
    """Return the runners by name."""
    return {name: Runner(name, **fields) for name, fields in speeds()["runners"].items()}


@functools.cache
def speeds() -> dict[str, Any]:
    """Return ``speeds.json``: the runners, and on which GPUs they were measured."""
    path = os.path.join(os.path.dirname(__file__), "speeds.json")
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def runner_of(architecture: Architecture, engine: str, dtype: str) -> Runner:
    """Return what runs a model: vLLM, the workshop's own decoder, or else transformers' ``generate()``."""
    if engine == "vllm":
        return runners()["vLLM"]
    own = architecture.model_type in OWN_FAMILIES and dtype in SIXTEEN_BITS
    return runners()["this workshop" if own else "transformers"]


@dataclass(frozen=True)
class Replica:
    """A model on the GPUs of one layout. ``weight_bytes`` are those of the whole model, as stored."""

    architecture: Architecture
    runner: Runner
    offer: Offer
    layout: Layout
    weight_bytes: int
    kv_dtype: str = "bfloat16"

    def speed(self, text: Text) -> Speed:
        """Return the seconds of prefill and of a decode step."""
        # The fullest of several engines sets the pace.
        text = replace(text, batch=self.layout.engines * -(-text.batch // self.layout.engines))
        slots = min(self.layout.pipeline, text.batch) if self.runner.micro_batches else 1
        micro = Text(-(-text.batch // slots), text.prompt, text.answer)
        return Speed(prefill_s=self.prefill_seconds(text, slots), step_s=self.step_seconds(micro))

    def step_seconds(self, text: Text) -> float:
        """Return the seconds of one decode step: one more token for each sequence."""
        runner, model = self.runner, self.architecture
        middle = text.prompt + text.answer // 2
        read = self.rank_bytes(text.batch, middle)
        share = runner.bandwidth_share if text.batch < BATCHED else runner.batched_share
        memory = read / (self.offer.gpu.bandwidth_gb_per_s * 1e9 * share)
        busy = max(memory, self.compute_seconds(2 * passed_parameters(model) * text.batch))
        layers = len(model.layers) * runner.layer_s
        layers += sum(layer.experts is not None for layer in model.layers) * runner.experts_s
        if self.layout.tensor > 1:
            layers *= runner.tensor_factor
        if self.layout.pipeline > 1:
            layers *= runner.stage_factor
        work = max(busy, layers) if runner.launches_overlap else busy + layers
        sent = text.batch * model.hidden_size * VALUE_BYTES
        return work + self.sums_seconds(sent) + self.hops_seconds(sent)

    def rank_bytes(self, batch: int, tokens: int) -> float:
        """Return what a rank reads in a step, over all stages: weights, and the cache of its sequences."""
        model, layout = self.architecture, self.layout
        still, chosen, each = read_parts(model, self.weight_bytes, batch)
        own = -(-batch // layout.engines)
        # A latent is kept, and read, by every tensor rank.
        shares = 1 if caches_latents(model) else layout.tensor
        cache = kv_cache_bytes(model, tokens, own, self.kv_dtype) / shares
        # Where experts are whole, a rank that has a chosen one reads all of that.
        experts = max(chosen / layout.expert, each) if layout.expert > 1 else chosen / layout.tensor
        return still / layout.tensor + experts + cache

    def prefill_seconds(self, text: Text, slots: int) -> float:
        """Return the seconds to the first token of every sequence of a batch, in ``slots`` micro-batches."""
        model = self.architecture
        tokens = text.batch * text.prompt
        compute = self.compute_seconds(
            2 * passed_parameters(model) * tokens + attention_flops(model, text.batch, text.prompt)
        )
        launches = len(model.layers) * self.runner.prefill_layer_s
        # Micro-batches fill the stages one after another: the bubble of a pipeline.
        share = (slots + self.layout.pipeline - 1) / (slots * self.layout.pipeline)
        sent = tokens * model.hidden_size * VALUE_BYTES
        return (max(compute, launches) + self.sums_seconds(sent)) * share + self.hops_seconds(sent)

    def compute_seconds(self, operations: float) -> float:
        """Return how long so many floating point operations take, shared out over the ranks of a stage."""
        ranks = self.layout.tensor * self.layout.engines
        return operations / ranks / (self.offer.gpu.half_tflops * 1e12 * self.runner.flops_share)

    def sums_seconds(self, sent_bytes: float) -> float:
        """Return the seconds of two sums a layer over tensor ranks, and of the way to common experts.

        The tokens of all engines are gathered for the experts, whose outputs are added up and shared out
        again: as many bytes as one sum, in two calls (``AgRsAll2AllManager`` of vLLM 0.26, all2all.py).
        """
        layout, layers = self.layout, self.architecture.layers
        seconds = 2 * len(layers) * self.sum_seconds(layout.tensor, sent_bytes / layout.engines)
        if layout.engines > 1:
            mixtures = sum(layer.experts is not None for layer in layers)
            exchange = self.sum_seconds(layout.expert, sent_bytes) + self.latency_seconds(layout.expert)
            seconds += mixtures * exchange
        return seconds

    def sum_seconds(self, ranks: int, sent_bytes: float) -> float:
        """Return the seconds of one sum: in a ring, each of n ranks sends 2 (n - 1) / n of the bytes."""
        if ranks == 1:
            return 0.0
        bytes_per_s = self.offer.gb_per_s * 1e9 * self.runner.link_share
        return self.latency_seconds(ranks) + 2 * (ranks - 1) / ranks * sent_bytes / bytes_per_s

    def latency_seconds(self, ranks: int) -> float:
        """Return the seconds that a call over so many ranks takes for no bytes."""
        latency = self.runner.sum_s if self.offer.link == "nvlink" else self.runner.pcie_sum_s
        return latency * (1 + (ranks - 2) / RANKS_A_LATENCY)

    def hops_seconds(self, sent_bytes: float) -> float:
        """Return the seconds that activations take from stage to stage."""
        inside = self.layout.replica_gpus <= self.offer.per_node
        gb_per_s = self.offer.gb_per_s if inside else (self.offer.network_gb_per_s or NETWORK_GB_PER_S)
        return (self.layout.pipeline - 1) * (self.runner.hop_s + sent_bytes / (gb_per_s * 1e9))


# A sum's latency grows with the ranks that wait for one another: assumed to double from two to ten.
RANKS_A_LATENCY = 8
# 100 Gb/s, where a site says nothing: the slowest network that centres put between GPU nodes today.
NETWORK_GB_PER_S = 12.5


def read_bytes(architecture: Architecture, weight_bytes: int, batch: int) -> float:
    """Return the weights' bytes that a step of so many sequences reads: of experts, the chosen ones."""
    still, chosen, _ = read_parts(architecture, weight_bytes, batch)
    return still + chosen
