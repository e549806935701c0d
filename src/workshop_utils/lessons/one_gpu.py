"""Notebook 03: the small real model timed on one device, and what that device can do at most."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.speed_bars import Speed, speed_bars
from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.two_h100 import TOKENS_PER_S, note_of, short_runs
from workshop_utils.measure.generation import device_here
from workshop_utils.measure.matrix_product import product_flops_per_second
from workshop_utils.measure.measurement import Measurement
from workshop_utils.measure.provenance import hardware_name
from workshop_utils.models.architecture import Architecture, Attention
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.models.small_model import small_model_folder
from workshop_utils.parallel.ceiling import copy_bytes_per_second
from workshop_utils.parallel.plain import generate_plain
from workshop_utils.units import format_share

NEW_TOKENS, REPEATS = 9, 2
VALUE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Machine:
    """What one device did at most: bytes a second in a copy, FLOP/s in a matrix product in ``dtype``."""

    name: str
    dtype: str
    bytes_per_second: float
    flops_per_second: float

    def __str__(self) -> str:
        return (
            f"{self.name}: a copy moves {self.bytes_per_second / 1e9:,.0f} GB/s, a matrix product in "
            f"{self.dtype} does {self.flops_per_second / 1e9:,.0f} GFLOP/s"
        )

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class Timed:
    """One timed generation of the small model; bytes and FLOP are computed from its shape.

    ``prompt`` tokens a sequence, ``batch`` sequences; the seconds are the best of a few.
    """

    prompt: int
    batch: int
    ttft_seconds: float
    tpot_seconds: float
    shape: Architecture
    value_bytes: int

    @property
    def prefill(self) -> "Pass":
        """The pass that reads the prompts; only the last token of each needs logits."""
        head = self.shape.vocabulary_size * self.shape.hidden_size
        products = 2 * (count_parameters(self.shape).total - head) * self.prompt + 2 * head
        # Every token attends to itself and those before it: half of prompt × prompt pairs.
        flops = self.batch * (products + self._attention_flops * self.prompt / 2 * self.prompt)
        label = f"prefill of {self.prompt} tokens"
        return Pass(label, flops, self._weight_bytes, self.ttft_seconds)

    @property
    def decode(self) -> "Pass":
        """The pass that makes one more token of each sequence."""
        context = self.prompt + NEW_TOKENS / 2
        flops = self.batch * (2 * count_parameters(self.shape).total + self._attention_flops * context)
        cache = self.batch * context * self._cache_bytes_per_token
        label = f"decode, batch {self.batch}"
        return Pass(label, flops, self._weight_bytes + cache, self.tpot_seconds)

    @property
    def _weight_bytes(self) -> int:
        return count_parameters(self.shape).total * self.value_bytes

    @property
    def _attentions(self) -> list[Attention]:
        return [layer.attention for layer in self.shape.layers if isinstance(layer.attention, Attention)]

    @property
    def _attention_flops(self) -> int:
        """FLOP of one token for each that it attends to: a product with K and one with V in every layer."""
        return sum(4 * attention.heads * attention.head_dim for attention in self._attentions)

    @property
    def _cache_bytes_per_token(self) -> int:
        return sum(2 * a.kv_heads * a.head_dim * self.value_bytes for a in self._attentions)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass through the model: the FLOP it needs, the bytes it must read, the seconds it took."""

    label: str
    flops: float
    bytes: float
    seconds: float

    @property
    def intensity(self) -> float:
        """FLOP for each byte read."""
        return self.flops / self.bytes

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds

    def limit(self, machine: Machine) -> float:
        """FLOP/s that the machine's roofline allows at this intensity."""
        return min(machine.flops_per_second, self.intensity * machine.bytes_per_second)


def dtype_here() -> str:
    """Return bfloat16 on a GPU; float32 on a CPU, as many have no fast products in bfloat16."""
    return "float32" if device_here() == "cpu" else "bfloat16"


def measure_machine() -> Machine:
    """Copy a large block, multiply large matrices, and return the best of each."""
    device, dtype = device_here(), dtype_here()
    flops = product_flops_per_second(device, dtype)
    return Machine(hardware_name(), dtype, copy_bytes_per_second(device), flops)


def load_small_model() -> Any:
    """Return the small real model where it will run, after one short generation to warm up."""
    quiet_torchao()
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(small_model_folder(), dtype=dtype_here())
    model = model.to(device_here()).eval()
    generate_plain(model, [[1, 2, 3]], 3)
    return model


def time_generate(model: Any, prompt: int, batch: int = 1) -> Timed:
    """Time ``generate()`` on ``batch`` random prompts of ``prompt`` tokens; the best of two counts.

    Its tokens are reported as they are made, for whatever shows them live.
    """
    shape = find_architecture(str(small_model_folder()))
    chance = random.Random(prompt)  # noqa: S311 - text to run, no secret
    prompts = [[chance.randrange(3, shape.vocabulary_size) for _ in range(prompt)] for _ in range(batch)]
    runs = [generate_plain(model, prompts, NEW_TOKENS) for _ in range(REPEATS)]
    return Timed(
        prompt,
        batch,
        min(run.ttft_seconds for run in runs),
        min(run.tpot_seconds for run in runs),
        shape,
        model.dtype.itemsize,
    )


def phases_table(runs: Sequence[Timed]) -> Table:
    """Return prefill and decode of each run: how long, and tokens a second."""
    rows = [
        (
            f"{run.batch} × {run.prompt}",
            f"{1000 * run.ttft_seconds:.0f}",
            f"{run.batch * run.prompt / run.ttft_seconds:,.0f}",
            f"{1000 * run.tpot_seconds:.1f}",
            f"{run.batch / run.tpot_seconds:,.0f}",
        )
        for run in runs
    ]
    headers = ("batch × prompt", "TTFT, ms", "prefill, tokens/s", "TPOT, ms", "decode, tokens/s")
    caption = (
        f"SmolLM2 135M in plain transformers, measured here on {hardware_name()}; the best of {REPEATS}."
    )
    return Table(headers, rows, caption)


def roofline_table(passes: Sequence[Pass], machine: Machine) -> Table:
    """Return each pass's FLOP, bytes, intensity, and its share of what the roofline allows."""
    rows = [
        (
            one.label,
            f"{one.flops / 1e9:,.2f}",
            f"{one.bytes / 1e9:.2f}",
            f"{one.intensity:,.1f}",
            f"{one.flops_per_second / 1e9:,.1f}",
            format_share(one.flops_per_second / one.limit(machine)),
        )
        for one in passes
    ]
    headers = ("pass", "GFLOP", "GB read", "FLOP per byte", "GFLOP/s", "of its limit")
    return Table(headers, rows, f"FLOP and bytes computed from the model's shape. {machine}.")


def step_bytes(shape: Architecture, dtype: str = "bfloat16") -> int:
    """Return the bytes of weights that one decode step reads: all but the embedding, of which it needs a row.

    A model whose head is its embedding reads that as its head.
    """
    parts = count_parameters(shape)
    table = 0 if shape.tied_embeddings else shape.vocabulary_size * shape.hidden_size
    return (parts.total - table) * VALUE_BYTES[dtype]


def decode_limit(shape: Architecture, gpu: Gpu) -> float:
    """Return the tokens/s of one sequence at which a GPU reads all weights at its data sheet's bandwidth."""
    return gpu.bandwidth_gb_per_s * 1e9 / step_bytes(shape)


def decode_figure(runs: Sequence[Measurement], model: str, gpu: str, title: str) -> Picture:
    """Draw every engine recorded on one GPU with one sequence, the slowest first, and the GPU's limit."""
    shape, limits = find_architecture(model), find_gpu(gpu)
    found = [run for run in short_runs(runs, model) if run.settings["strategy"] == "none"]
    found.sort(key=lambda run: run.values[TOKENS_PER_S].value)
    speeds = [Speed(run.settings["engine"], run.values[TOKENS_PER_S].value) for run in found]
    limit = decode_limit(shape, limits)
    words = f"{limit:.0f}: the weights read at {limits.bandwidth_gb_per_s:,g} GB/s"
    return speed_bars(speeds, title=title, note=note_of(found), limit=limit, limit_label=words)
