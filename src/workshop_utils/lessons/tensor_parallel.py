"""Notebook 06: one MLP and one model on two ranks, what they send, and two H100s."""

from collections.abc import Sequence
from pathlib import Path

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.speed_bars import Speed, speed_bars
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.tier import device_of_ranks
from workshop_utils.lessons.two_h100 import TOKENS_PER_S, TTFT_MS, note_of, short_runs
from workshop_utils.measure.measurement import Measurement, load_measurements
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.bench_models import SMALL_MODEL, model_with_weights
from workshop_utils.parallel.bench_result import RunFigures, run_case
from workshop_utils.parallel.launch.result import RunResult
from workshop_utils.units import format_gb

RANKS, PADDED_KV_HEADS = 2, 4
TOKENS, NEW_TOKENS, REPEATS = 64, 24, 2
TIMEOUT_SECONDS = 540.0
WAYS = {"tensor": "TP 2", "layers": "layers split", "data": "two replicas", "pipeline": "PP 2"}


def run_small_model(ranks: int) -> RunFigures:
    """Run SmolLM2, padded to 4 KV heads, tensor parallel on so many ranks, and check it.

    One rank and two run on the same kind of device, so that they can be compared.
    """
    device = device_of_ranks(RANKS)
    case = BenchCase(
        strategy="tensor",
        model=model_with_weights(SMALL_MODEL, twin=False),
        ranks=ranks,
        tensor=ranks,
        tokens=TOKENS,
        new=NEW_TOKENS,
        dtype="float32" if device == "cpu" else "bfloat16",
        kv_heads=PADDED_KV_HEADS,
        repeats=REPEATS,
        check=True,
    )
    return run_case(case, device, TIMEOUT_SECONDS)


def sent_table(result: RunResult, predicted_bytes: int) -> Table:
    """Return what each rank of ``split_mlp.py`` sent, the prediction, and how equal the outputs are."""
    rows = [
        (
            f"{rank['rank']}",
            f"{rank['difference']:.0e}",
            f"{predicted_bytes:,}",
            "not counted here" if rank["bytes_sent"] is None else f"{rank['bytes_sent']:,}",
        )
        for rank in result.measurements
    ]
    headers = ("rank", "largest difference", "bytes predicted", "bytes sent")
    caption = "Sent: what Linux counts on the rank's TCP sockets. NCCL's traffic over NVLink is not in it."
    return Table(headers, rows, caption)


def ranks_table(one: RunFigures, two: RunFigures) -> Table:
    """Return a model on one rank beside the same on two."""
    pair = (one, two)
    rows = [
        ("TTFT, ms", *(f"{run.ttft_ms:.0f}" for run in pair)),
        ("TPOT, ms", *(f"{run.tpot_ms:.1f}" for run in pair)),
        ("tokens/s while decoding", *(f"{run.tokens_per_s:.1f}" for run in pair)),
        ("weights on a rank", *(format_gb(run.ranks[0]["weight_bytes"]) for run in pair)),
        ("a rank sends for each token", *(f"{run.bytes_sent_per_token:,} bytes" for run in pair)),
        ("logits differ from transformers' by", *(f"{run.max_abs_logit_difference:.0e}" for run in pair)),
        ("same tokens as transformers", *("yes" if run.greedy_tokens_equal else "no" for run in pair)),
    ]
    case = one.case
    ties = " In bfloat16 a token may differ where two are equally likely." if case.dtype == "bfloat16" else ""
    caption = (
        f"SmolLM2 135M with {case.kv_heads} KV heads, {case.dtype}, {case.tokens} tokens in and {case.new} "
        f"out; measured here on {two.hardware}.{ties}"
    )
    return Table(("", "one rank", "two ranks"), rows, caption)


def two_gpus_figure(runs: Sequence[Measurement], model: str, name: str, gpu: str = "H100") -> Picture:
    """Draw one GPU beside two for every engine recorded tensor parallel, short prompts, the slowest first."""
    together = [run for run in short_runs(runs, model) if run.settings["strategy"] == "tensor"]
    together.sort(key=lambda run: run.values[TOKENS_PER_S].value)
    pairs = [(one, two) for two in together if (one := partner(runs, two)) is not None]
    speeds = [
        Speed(two.settings["engine"], *(run.values[TOKENS_PER_S].value for run in (one, two)))
        for one, two in pairs
    ]
    note = note_of([run for pair in pairs for run in pair])
    return speed_bars(speeds, title=f"{name}, one answer at a time: one {gpu} and two", note=note)


def two_gpus_table(runs: Sequence[Measurement]) -> Table:
    """Return every recorded run on two GPUs beside the same on one, and how many times as fast it was."""
    rows, used = [], []
    for two in runs:
        one = partner(runs, two)
        if one is None:
            continue
        used += [one, two]
        rows.append(
            (
                f"{two.settings['model']}, {two.settings['engine']}",
                _way(two),
                _requests(two),
                *_beside(one, two, TOKENS_PER_S),
                *_beside(one, two, TTFT_MS),
            )
        )
    headers = (
        "model, engine", "two GPUs", "batch × prompt", "tokens/s: one", "two", "gain", "TTFT, ms: one", "two",
        "gain",
    )  # fmt: skip
    caption = f"Random weights of the true shape, bfloat16; {note_of(used)}."
    return Table(headers, rows, caption, text_columns=2)


def sums_table(path: Path | str = "recorded/sums_two_h200.json") -> Table:
    """Return how long two GPUs take to sum one step's hidden states, in three ways."""
    runs = load_measurements(path)
    times = {
        (tuple(run.settings["shape"]), run.settings["way"]): run.values["microseconds"].value for run in runs
    }
    ways = list(dict.fromkeys(way for _, way in times))
    rows = [
        (f"{batch} × {hidden:,}", *(f"{times[(batch, hidden), way]:.1f}" for way in ways))
        for batch, hidden in dict.fromkeys(shape for shape, _ in times)
    ]
    caption = f"One sum among 64 in a CUDA graph, bfloat16; {note_of(runs)}."
    return Table(("batch × hidden size", *(f"{way}, µs" for way in ways)), rows, caption)


def partner(runs: Sequence[Measurement], two: Measurement) -> Measurement | None:
    """Return the run on one GPU that differs from ``two`` in nothing else; None for a run on one GPU."""
    if two.settings["strategy"] == "none":
        return None
    same = ("model", "engine", "batch", "tokens")
    wanted = {name: two.settings[name] for name in same} | {"strategy": "none"}
    return next((run for run in runs if wanted.items() <= run.settings.items()), None)


def _way(two: Measurement) -> str:
    """Return how two GPUs shared the work."""
    strategy, parts = two.settings["strategy"], two.settings.get("micro_batches", 1)
    name: str = WAYS.get(strategy, strategy)
    return f"{name}, {parts} micro-batches" if parts > 1 else name


def _requests(run: Measurement) -> str:
    """Return how many sequences of how many tokens ran at once; of replicas, on each."""
    tokens = run.settings["tokens"]
    each = " each" if run.settings["strategy"] == "data" else ""
    return f"{run.settings['batch']} × {'not noted' if tokens is None else f'{tokens:,}'}{each}"


def _beside(one: Measurement, two: Measurement, name: str) -> tuple[str, str, str]:
    """Return a value of both and the gain: the ratio of speeds, for a time its inverse."""
    if name not in one.values or name not in two.values:
        return ("–", "–", "–")
    first, second = one.values[name].value, two.values[name].value
    gain = first / second if name == TTFT_MS else second / first
    return (_four_digits(first), _four_digits(second), f"{gain:.2f} ×")


def _four_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
