"""The slides' comparison of data, pipeline and tensor parallelism, with a column of measurements."""

from collections.abc import Sequence
from typing import Any

from workshop_utils.lessons.table import Table
from workshop_utils.lessons.two_h100 import TTFT_MS, note_of, one
from workshop_utils.measure.measurement import Measurement

SMALL, LARGE = "llama-3.1-8b", "mistral-small-24b"
EAGER, VLLM, OURS = "transformers, eager", "vLLM", "this workshop"
MANY: dict[str, Any] = {"batch": 32, "tokens": 512}
LONG: dict[str, Any] = {"batch": 1, "tokens": 4096}
SHORT: dict[str, Any] = {"batch": 1, "tokens": 128}
PIPELINE: dict[str, Any] = {"tokens": 512, "model": LARGE}


def strategies_table(runs: Sequence[Measurement], ours: Sequence[Measurement]) -> Table:
    """Return one row a strategy: what the slides say of it, and two GPUs beside one.

    ``runs`` are recorded on H100s with what readers know, ``ours`` on H200s with this workshop's own runners.
    """
    rows = [
        (
            "data",
            "the inputs",
            "many prompts (the slide: long ones; but each prompt is still read by one GPU)",
            "all weights",
            _data(runs),
            _our_data(ours),
        ),
        (
            "pipeline",
            "the layers, in order",
            "the model is too large for one GPU: deep but not too wide",
            "its layers",
            _pipeline(runs),
            _our_pipeline(ours),
        ),
        (
            "tensor",
            "the matrices inside each layer",
            "the model is too large for one GPU, or one answer must come sooner",
            "its share of each matrix",
            _tensor(runs),
            _our_tensor(ours),
        ),
    ]
    headers = (
        "parallelism", "what is split", "when used", "on each GPU", "two H100s against one",
        "this workshop's runners, two H200s against one",
    )  # fmt: skip
    shown = [run for run in runs if run.settings["engine"] in {EAGER, VLLM}]
    own = [run for run in ours if run.settings["engine"] == OURS]
    caption = f"Decode speed unless it says otherwise; {note_of(shown)}. The last column {note_of(own)}."
    return Table(headers, rows, caption, text_columns=6)


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


def _our_data(runs: Sequence[Measurement]) -> str:
    return f"{gain(runs, 'data', model=SMALL, engine=OURS, **MANY):.2f} × the tokens/s (8B, batch 32 each)"


def _our_pipeline(runs: Sequence[Measurement]) -> str:
    """Two micro-batches of 8 on two GPUs, beside one GPU with 8 and with all 16."""
    eight, sixteen = (one(runs, engine=OURS, strategy="none", batch=batch, **PIPELINE) for batch in (8, 16))
    both = one(runs, engine=OURS, strategy="pipeline", batch=16, micro_batches=2, **PIPELINE)
    return (
        f"{both / eight:.2f} × with two micro-batches of 8, against one GPU with 8 (24B); "
        f"{both / sixteen:.2f} × against one GPU with all 16"
    )


def _our_tensor(runs: Sequence[Measurement]) -> str:
    small, large = (gain(runs, "tensor", model=model, engine=OURS, **SHORT) for model in (SMALL, LARGE))
    first = gain(runs, "tensor", TTFT_MS, model=LARGE, engine=OURS, **LONG)
    return f"{small:.2f} × (8B), {large:.2f} × (24B), first token {first:.2f} × (24B, 4,096 tokens)"
