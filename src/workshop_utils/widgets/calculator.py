"""The memory calculator: controls and what follows them, the quick part at once, the rest when they rest."""

from collections.abc import Iterator
from html import escape
from typing import Any

import ipywidgets

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.fallback import with_fallback
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.units import format_gb
from workshop_utils.widgets.controls import Controls, checkbox
from workshop_utils.widgets.estimate_view import estimate_html
from workshop_utils.widgets.gpus_view import gpus_html
from workshop_utils.widgets.largest_view import largest_steps
from workshop_utils.widgets.later import Later
from workshop_utils.widgets.side_by_side import COUNTS, Column, columns
from workshop_utils.widgets.side_by_side_view import side_by_side_html
from workshop_utils.widgets.slide_view import slide_html
from workshop_utils.widgets.style import box_html, style_html
from workshop_utils.widgets.terms_view import terms_html
from workshop_utils.widgets.words import for_controls

STALE, WAITING = "workshop-calculator-stale", "workshop-calculator-waiting"


class Calculator:
    """Shows itself in a notebook; ``html`` is what stands beside and below the controls."""

    def __init__(
        self, model: str = "gemma-3-4b", tokens: int = 131_072, batch: int = 1, gpu: str | None = None
    ) -> None:
        """Start with a model as ``find_architecture`` takes it, and a GPU type's name or None for any."""
        self.controls = Controls(model, tokens, batch, gpu)
        self.slide = checkbox("Slide's rule beside it")
        self.opened = checkbox("Formulas and sources open")
        self.count = ipywidgets.Dropdown(
            options=COUNTS, value=2, description="GPUs side by side", style={"description_width": "initial"},
            layout={"width": "190px"},
        )  # fmt: skip
        self.message, self._estimate, self._gpus, self._terms, self._slide, self._columns, self._largest = (
            ipywidgets.HTML() for _ in range(7)
        )
        self._waiting = (self._columns, self._largest, self._gpus)
        self.results = ipywidgets.VBox(self._results())
        self._last: tuple[Architecture, Estimate] | None = None
        self._found: tuple[str, Architecture] | None = None
        self._later = Later()
        self.controls.observe(self._update)
        for switch in (self.slide, self.opened):
            switch.observe(self._show, names="value")
        self.count.observe(self._start_rest, names="value")
        self._update()
        self._later.finish()

    def _results(self) -> list[Any]:
        switches = ipywidgets.HBox(
            [self.slide, self.opened], layout={"flex_flow": "row wrap", "grid_gap": "0 20px"}
        )
        return [
            self._estimate, self._largest, switches, self._slide, self._terms, self.count, self._columns,
            self._gpus,
        ]  # fmt: skip

    @property
    def html(self) -> str:
        """All that is shown, worked out to the end."""
        self._later.finish()
        parts = (widget.value for widget in self._results() if isinstance(widget, ipywidgets.HTML))
        return "".join((style_html(), self.message.value, *parts))

    def estimate(self) -> Estimate:
        """Return the estimate for the controls as they stand; WorkshopError for a value out of range."""
        architecture = self._architecture()
        arguments = self.controls.layout(architecture) | self.controls.workload()
        return estimate(architecture, gpu=self.controls.chosen_gpu(), **arguments)

    def _architecture(self) -> Architecture:
        name = self.controls.chosen_model()
        if self._found is None or self._found[0] != name:
            self._found = (name, find_architecture(name))
        return self._found[1]

    def _update(self) -> None:
        try:
            result = self.estimate()
        except WorkshopError as error:
            self._refuse(str(error))
            return
        self.message.value = ""
        self.results.remove_class(STALE)
        self._last = (self._architecture(), result)
        self._show()
        self._start_rest()

    def _refuse(self, sentence: str) -> None:
        """Say what is wrong above the last result, which stays there in grey."""
        kept = f"<p>Below in grey is the last result: {self._title()}.</p>" if self._last else ""
        words = escape(for_controls(sentence))
        self.message.value = box_html(f'<div class="message" role="alert">✗ {words}{kept}</div>')
        self.results.add_class(STALE)

    def _show(self, _change: Any = None) -> None:
        """Show what is quick: the estimate, its terms, the slide's rule."""
        if self._last is None:
            return
        architecture, result = self._last
        workload = result.workload
        ideal = kv_cache_bytes(architecture, workload.tokens, workload.batch, workload.kv_dtype)
        self._estimate.value = estimate_html(result, ideal)
        self._terms.value = terms_html(result, self.opened.value)
        self._slide.value = slide_html(architecture, result, ideal) if self.slide.value else ""
        if result.gpu is None:
            self._gpus.value = gpus_html(result, quick=True)

    def _start_rest(self, _change: Any = None) -> None:
        if self._last is not None:
            for widget in self._waiting:
                widget.add_class(WAITING)
            self._later.start(self._rest(*self._last))

    def _rest(self, architecture: Architecture, result: Estimate) -> Iterator[None]:
        """Work out what takes longer, pausing after each estimate."""
        asked, gpu = result.workload, result.gpu
        self._gpus.value = "" if gpu else gpus_html(result)
        self._gpus.remove_class(WAITING)
        yield
        workload = {
            name: getattr(asked, name)
            for name in ("tokens", "batch", "dtype", "kv_dtype", "engine", "attention")
        }
        found: list[Column] = []
        for column in columns(architecture, gpu, self.count.value, workload):
            found.append(column)
            yield
        self._columns.value = side_by_side_html(found, gpu)
        self._columns.remove_class(WAITING)
        yield
        sizes = ("tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel")
        layout = {name: getattr(asked, name) for name in sizes}
        self._largest.value = yield from largest_steps(architecture, gpu, workload | layout)
        self._largest.remove_class(WAITING)

    def _title(self) -> str:
        if self._last is None:
            return "nothing yet"
        workload = self._last[1].workload
        return f"{escape(self._last[1].model)}, {workload.tokens:,} tokens, batch {workload.batch:,}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        right = ipywidgets.VBox(
            [ipywidgets.HTML(style_html()), self.message, self.results],
            layout={"flex": "100 1 440px", "min_width": "0"},
        )
        box = ipywidgets.Box([self.controls.box, right], layout={"flex_flow": "row wrap"})
        text = f"Calculator: {self._title()}"
        size = f": {format_gb(self._last[1].process_bytes)}" if self._last else ""
        return with_fallback(box, f"<p>{text}</p>{self.html}", text + size)
