"""A run's figures as a measurement: with units, and all that is needed to repeat it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from workshop_utils.measure.measurement import Measurement, Quantity
from workshop_utils.measure.provenance import measured_here, version_of
from workshop_utils.parallel.bench_result import RunFigures

COMMAND = "workshop bench run"


def measurement_of(figures: RunFigures) -> Measurement:
    """Return the medians as values, and the case and every repeat as settings."""
    case = figures.case
    values = {
        "ttft": Quantity(figures.ttft_ms, "ms"),
        "tpot": Quantity(figures.tpot_ms, "ms"),
        "least_tpot": Quantity(figures.predicted_tpot_ms, "ms"),
        "tokens_per_s": Quantity(figures.tokens_per_s, "tokens/s"),
        "bytes_sent_per_token": Quantity(figures.bytes_sent_per_token, "bytes"),
    }
    for number, rank in enumerate(figures.ranks):
        values[f"peak_rank_{number}"] = Quantity(rank["peak_bytes"], "bytes")
    if figures.joules_per_token is not None:
        values["energy_per_token"] = Quantity(figures.joules_per_token, "J")
    settings = {
        **asdict(case),
        "model": figures.name,
        "layout": str(case.layout),
        "runs": list(figures.ranks),
    }
    if figures.max_abs_logit_difference is not None:
        settings["max_abs_logit_difference"] = figures.max_abs_logit_difference
        settings["relative_logit_difference"] = figures.relative_logit_difference
        for name in ("relative_to_float32", "plain_relative_to_float32"):
            settings[name] = figures.ranks[-1].get(name)
        settings["greedy_tokens_equal"] = figures.greedy_tokens_equal
    what = f"{figures.name}, {case.strategy} × {case.ranks}"
    taken = measured_here(what, {}, COMMAND, settings, figures.hardware)
    return replace(taken, values=values, versions={**taken.versions, "triton": version_of("triton")})


def append(figures: RunFigures, file: Path) -> None:
    """Add a run to a file, as one line of JSON."""
    row = {name: value for name, value in asdict(measurement_of(figures)).items() if name != "recorded"}
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")
