"""The live strip: what this notebook's GPUs do, drawn under a cell, and the energy of a token.

    strip = live_strip()
    strip                       # as a cell's value
    strip.count_tokens(8)       # in a decode loop: tokens/s and J/token stand under the charts

A thread reads four figures a GPU and sends some hundred bytes a second; the browser draws. There is one strip
in a notebook: a new one takes the place of the last, and sampling pauses while no page shows it.
"""

import asyncio
from collections import deque
from html import escape
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import anywidget
import traitlets

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.my_gpus import my_gpus
from workshop_utils.hardware.reading import GpuReading
from workshop_utils.monitor.host import HostReading
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.subscription import FASTEST_HZ, SLOWEST_HZ
from workshop_utils.monitor.token_energy import TokenEnergy
from workshop_utils.monitor.tokens import count_tokens, tokens_counted
from workshop_utils.widgets.live_strip_feed import Feed, Patience
from workshop_utils.widgets.live_strip_rows import (
    FIGURES_OF_A_DEVICE,
    devices_of,
    figures_of,
    notes_of,
    row_of,
    words_of,
)

FOLDER = Path(__file__).parent
WINDOW_SECONDS = 300
# Rows for a page that is opened later; a tick may be early.
HISTORY_STEP_SECONDS = 0.9
NOT_SHOWN = "Live strip: run this cell in JupyterLab to see your GPUs."
_SHOWN: list["LiveStrip"] = []


def live_strip(hz: float = 1.0) -> "LiveStrip":
    """Return a strip, to be shown as a cell's value; the one before is closed.

    ``hz``: samples a second, 0.2 to 10. Raises WorkshopError for another rate.
    """
    if not SLOWEST_HZ <= hz <= FASTEST_HZ:
        raise WorkshopError(f"hz={hz:g} is out of range; give {SLOWEST_HZ:g} to {FASTEST_HZ:g}.")
    while _SHOWN:
        _SHOWN.pop().close()
    strip = LiveStrip(hz)
    _SHOWN.append(strip)
    return strip


def front_end(name: str) -> str:
    """Return one of the strip's front-end files: uPlot's before ours, so that the page asks nobody for it."""
    return (FOLDER / name).read_text(encoding="utf-8")


class LiveStrip(anywidget.AnyWidget):  # type: ignore[misc]
    """Shows itself in a notebook; ``str`` has the newest figures."""

    _esm = "\n".join(map(front_end, ("uplot/uPlot.iife.min.js", "live_strip_charts.js", "live_strip.js")))
    _css = "\n".join(map(front_end, ("uplot/uPlot.min.css", "live_strip.css")))
    hz = traitlets.Float().tag(sync=True)
    window_seconds = traitlets.Float(WINDOW_SECONDS).tag(sync=True)
    devices: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)

    def __init__(self, hz: float) -> None:
        super().__init__(hz=hz)
        self._history: deque[tuple[float, bytes]] = deque()
        self._energy = TokenEnergy()
        self._words: dict[str, Any] = {"notes": [], "decode": ""}
        self._figures: list[float | None] = []
        self._has_gpus = False
        self._names: tuple[object, ...] | None = None
        self._feed = Feed(hz, self._show, Patience(_running_loop()))
        self.on_msg(self._answer)
        self._feed.start()

    def count_tokens(self, tokens: int = 1) -> None:
        """Report tokens that a decode loop has just made."""
        count_tokens(tokens)

    def close(self) -> None:
        """Take the strip off the page and end its thread."""
        feed = cast("Feed | None", getattr(self, "_feed", None))
        if feed is not None:
            feed.stop()
        super().close()

    def __str__(self) -> str:
        if not self._figures:
            return NOT_SHOWN
        found = [words_of(self.devices, self._figures), *self._words["notes"], self._words["decode"]]
        return "Live strip: " + "; ".join(filter(None, found))

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        view, _ = super()._repr_mimebundle_()
        return {**view, "text/html": f"<p>{escape(str(self))}</p>", "text/plain": str(self)}

    def _answer(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        """A page shows the strip: it greets once, to be told the past, and then says that it is there."""
        self._feed.start()
        if content.get("kind") == "hello":
            rows = b"".join(row for _, row in tuple(self._history))
            self.send({"kind": "history", **self._words}, [rows])

    def _show(self, sample: Sample) -> None:
        """Send a sample. Called by the feed's thread, once each."""
        gpus, host = my_gpus(sample.gpus.data or ()), sample.host.data
        self._has_gpus = self._has_gpus or bool(gpus)
        if self._has_gpus and not gpus:  # the driver hangs or is gone for now: the charts stay, with a gap
            self._figures = list(repeat(None, FIGURES_OF_A_DEVICE * len(self.devices)))
        else:
            self._figures = figures_of(gpus, host)
            self._name_devices(gpus, host)
        tokens = tokens_counted()
        rate = self._energy.add(sample.ticks, gpus, tokens) if tokens else None
        self._words = {"notes": notes_of(gpus, sample), "decode": "" if rate is None else f"Decode: {rate}"}
        row = row_of(sample.time, self._figures)
        self._remember(sample.ticks, row)
        self.send({"kind": "row", **self._words}, [row])

    def _name_devices(self, gpus: tuple[GpuReading, ...], host: HostReading | None) -> None:
        """Tell the page which devices the rows have; other rows than before are another history."""
        names = tuple((gpu.index, gpu.uuid) for gpu in gpus)
        if names != self._names:
            self._names = names
            self._history.clear()
            self.devices = devices_of(gpus, host)

    def _remember(self, ticks: float, row: bytes) -> None:
        if not self._history or ticks - self._history[-1][0] >= HISTORY_STEP_SECONDS:
            self._history.append((ticks, row))
        while self._history[0][0] < ticks - WINDOW_SECONDS:
            self._history.popleft()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the kernel's event loop; a script has none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
