"""The slides' comparison of data, pipeline and tensor parallelism, with a column of measurements."""

from collections.abc import Sequence
from typing import Any

from workshop_utils.lessons.table import Table
from workshop_utils.lessons.two_h100 import TTFT_MS, note_of, one
from workshop_utils.measure.measurement import Measurement

SMALL, LARGE = "llama-3.1-8b", "mistral-small-24b"
EAGER, VLLM = "transformers, eager", "vLLM"
MANY: dict[str, Any] = {"batch": 32, "tokens": 512}
LONG: dict[str, Any] = {"batch": 1, "tokens": 4096}
SHORT: dict[str, Any] = {"batch": 1, "tokens": 128}


def strategies_table(runs: Sequence[Measurement]) -> Table:
    """Return one row a strategy: what the slides say of it, and two H100s beside one in recorded ``runs``."""
    rows = [
        (
            "data",
            "the inputs",
            "many prompts (the slide: long ones; but each prompt is still read by one GPU)",
            "all weights",
            _data(runs),
        ),
        (
            "pipeline",
            "the layers, in order",
            "the model is too large for one GPU: deep but not too wide",
            "its layers",
            _pipeline(runs),
        ),
        (
            "tensor",
            "the matrices inside each layer",
            "the model is too large for one GPU, or one answer must come sooner",
            "its share of each matrix",
            _tensor(runs),
        ),
    ]
    headers = ("parallelism", "what is split", "when used", "on each GPU", "two H100s against one")
    shown = [run for run in runs if run.settings["engine"] in {EAGER, VLLM}]
    return Table(headers, rows, f"Decode speed unless it says otherwise; {note_of(shown)}.", text_columns=5)


def gain(runs: Sequence[Measurement], strategy: str, value: str = "tokens_per_s", **settings: Any) -> float:
    """Return how many times as fast two GPUs were as one: the ratio of speeds, for a time its inverse."""
    alone = one(runs, value, strategy="none", **settings)
    together = one(runs, value, strategy=strategy, **settings)
    return alone / together if value == TTFT_MS else together / alone


def _data(runs: Sequence[Measurement]) -> str:
    both = gain(runs, "data", model=SMALL, engine=EAGER, **MANY)
    first = gain(runs, "data", TTFT_MS, model=SMALL, engine=EAGER, **MANY)
    return f"{both:.2f} × the tokens/s (8B, batch 32 each); first token {first:.2f} ×"


def _pipeline(runs: Sequence[Measurement]) -> str:
    split = gain(runs, "layers", model=LARGE, engine=EAGER, **LONG)
    return f"{split:.2f} × (24B, batch 1, layers split with device_map: no two GPUs at work at once)"


def _tensor(runs: Sequence[Measurement]) -> str:
    plain = gain(runs, "tensor", model=SMALL, engine=EAGER, **SHORT)
    small, large = (gain(runs, "tensor", model=model, engine=VLLM, **SHORT) for model in (SMALL, LARGE))
    first = gain(runs, "tensor", TTFT_MS, model=LARGE, engine=VLLM, **LONG)
    return (
        f"{plain:.2f} × in eager transformers; in vLLM {small:.2f} × (8B), {large:.2f} × (24B), "
        f"first token {first:.2f} × (24B, 4,096 tokens)"
    )
