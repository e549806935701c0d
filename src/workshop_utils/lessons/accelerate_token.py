"""Notebook 07: one token on a device map, as a picture and as a table of what was copied."""

from collections.abc import Sequence

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.token_path import Step, token_path_figure
from workshop_utils.lessons.accelerate_maps import device_words, size_words
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.token_log import Unit, place_words


def token_figure(units: Sequence[Unit]) -> Picture:
    """Draw the token's way layer by layer."""
    steps = [Step(unit.name, device_words(unit.home), unit.work_ms, unit.fetch_ms) for unit in units]
    total = sum(unit.total_ms for unit in units)
    waiting = sum(unit.fetch_ms for unit in units)
    note = f"{total:.0f} ms in all, {waiting:.0f} ms of it waiting; measured here on {place_words()}"
    return token_path_figure(steps, title="One token, layer by layer", note=note)


def token_table(units: Sequence[Unit]) -> Table:
    """Return what one token cost on each device of the map."""
    rows = []
    for home in dict.fromkeys(unit.home for unit in units):
        here = [unit for unit in units if unit.home == home]
        moved, came = (sum(getattr(unit, part) for unit in here) for part in ("moved_bytes", "fetched_bytes"))
        rows.append(
            (
                device_words(home),
                size_words(came) if came else "nothing",
                f"{sum(unit.fetch_ms for unit in here):.0f} ms",
                f"{sum(unit.work_ms for unit in here):.0f} ms",
                f"{moved / 1000:.1f} kB" if moved else "nothing",
            )
        )
    fetched = size_words(sum(unit.fetched_bytes for unit in units))
    headers = ("weights lie on", "fetched", "waiting for them", "at work", "hidden states moved here")
    return Table(headers, rows, f"One token; {fetched} of weights were fetched and dropped again.")
