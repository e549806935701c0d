"""The device-map explorer: where Accelerate would put a model's layers, and what that costs."""

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.fallback import with_fallback
from workshop_utils.parallel.big_model.advice import advise
from workshop_utils.units import format_gib
from workshop_utils.widgets.calculator import STALE, WAITING
from workshop_utils.widgets.controls import checkbox
from workshop_utils.widgets.device_columns_view import columns_html
from workshop_utils.widgets.device_map_explorer_controls import ExplorerControls
from workshop_utils.widgets.device_map_explorer_load import LoadHere
from workshop_utils.widgets.device_map_explorer_result import FITTING, Asked, Explored, explore
from workshop_utils.widgets.device_path_view import map_html, path_html
from workshop_utils.widgets.device_table_view import advice_html, peaks_html, tpot_html
from workshop_utils.widgets.later import Later
from workshop_utils.widgets.style import box_html, style_html

BUSY = "computing…"
FIRST = "computing… the first map takes some seconds, because transformers is being imported"


def device_map_explorer(
    model: str = "llama-3.1-70b", devices: str = "4 x A40", tokens: int = 8192, batch: int = 1
) -> "DeviceMapExplorer":
    """Return the explorer, to be shown as a cell's value.

    ``devices``: ``this machine``, ``none``, or GPU types such as ``4 x A40``. ``tokens``: the context of each
    of ``batch`` sequences, prompt and answer together.
    """
    return DeviceMapExplorer(model, devices, tokens, batch)


class DeviceMapExplorer:
    """Shows itself in a notebook; ``html`` is what stands beside the controls."""

    def __init__(self, model: str, devices: str, tokens: int, batch: int) -> None:
        self.controls = ExplorerControls(model, devices, tokens, batch)
        self.load = LoadHere()
        self.status, self._columns, self._path, self._tpot, self._advice, self._peaks, self._map = (
            ipywidgets.HTML() for _ in range(7)
        )
        self._shown = (self._columns, self._path, self._tpot, self._advice, self._peaks, self._map)
        self.opened = checkbox("Sources of the time and device_map open")
        self.results = ipywidgets.VBox([*self._shown[:-1], self.opened, self._map])
        self._last: Explored | None = None
        self._later = Later()
        self.controls.observe(self._update)
        self.opened.observe(self._fold, names="value")
        self._update()

    @property
    def html(self) -> str:
        """All that is shown, worked out to the end."""
        self._later.finish()
        return "".join((look(), self.status.value, *(widget.value for widget in self._shown)))

    def result(self) -> Explored | None:
        """Return what is shown, worked out to the end; None where nothing could be yet."""
        self._later.finish()
        return self._last

    def _update(self) -> None:
        asked = self.controls.asked()
        if asked is None:
            self._later.start(iter(()))
            self._refuse()
            return
        self._say(BUSY if "transformers" in sys.modules else FIRST)
        self.results.add_class(WAITING)
        self._later.start(self._steps(asked))

    def _steps(self, asked: Asked) -> Iterator[None]:
        """Show the map, then the advice."""
        try:
            found = explore(asked)
        except WorkshopError as error:
            self.controls.say("map", str(error))
            self._refuse()
            return
        self._show(found)
        yield
        self._advice.value = advice_html(advice_on(asked))
        self._advice.remove_class(WAITING)

    def _show(self, found: Explored) -> None:
        self._last = found
        self.controls.limits.show(found.fit.max_memory if found.asked.kind == FITTING else None)
        self._say("")
        for name in (STALE, WAITING):
            self.results.remove_class(name)
        self._advice.add_class(WAITING)
        self._columns.value = columns_html(found)
        self._path.value = path_html(found)
        self._peaks.value = peaks_html(found)
        self._fold()
        self.load.offer(found)

    def _fold(self, _change: Any = None) -> None:
        """Show what opens; the switch keeps it open, since each new value closes what the pointer opened."""
        if self._last is not None:
            self._tpot.value = tpot_html(self._last, self.opened.value)
            self._map.value = map_html(self._last, self.opened.value)

    def _refuse(self) -> None:
        """Leave the last good picture, in grey; what is wrong stands at its control."""
        kept = f" Below in grey is the last result: {self._title()}." if self._last else ""
        self._say(f"✗ A control has a value that gives no map; the sentence under it says why.{kept}")
        self.results.remove_class(WAITING)
        self.results.add_class(STALE)
        self.load.offer(None)

    def _say(self, words: str) -> None:
        self.status.value = box_html(f'<div class="busy" role="status">{escape(words)}</div>')

    def _title(self) -> str:
        if self._last is None:
            return "run this cell in JupyterLab to see the map"
        asked = self._last.asked
        devices = ", ".join(f"{device.label}" for device in asked.devices.all)
        return f"{asked.model} on {devices}, {asked.tokens:,} tokens × {asked.batch:,}, map {asked.kind}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        right = ipywidgets.VBox(
            [ipywidgets.HTML(look()), self.status, self.results, self.load.box],
            layout={"flex": "100 1 440px", "min_width": "0"},
        )
        box = ipywidgets.Box([self.controls.box, right], layout={"flex_flow": "row wrap"})
        text = f"Device-map explorer: {self._title()}"
        peaks = (
            ", ".join(format_gib(column.total_bytes) for column in self._last.columns) if self._last else ""
        )
        page = "".join((look(), *(widget.value for widget in self._shown)))
        return with_fallback(box, f"<p>{escape(text)}</p>{page}", f"{text} {peaks}".strip())


def advice_on(asked: Asked) -> str:
    """Return the sentence of the best-practice helper, or why it has none."""
    load = {"tokens": asked.tokens, "batch": asked.batch}
    try:
        return advise(asked.model, asked.devices, **load, dtype=asked.dtype).sentence
    except WorkshopError as error:
        return str(error)


def look() -> str:
    """Return the calculator's style sheet and the explorer's own."""
    own = Path(__file__).with_name("device_map_explorer.css").read_text(encoding="utf-8")
    return f"{style_html()}<style>{own}</style>"
