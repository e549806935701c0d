"""Read my log: a log pasted into a field, predicted beside actual, and what would make the run fit."""

from html import escape
from typing import Any

import ipywidgets

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu, load_gpus
from workshop_utils.lessons.fallback import with_fallback
from workshop_utils.memory.logs.compare import Comparison, compare
from workshop_utils.memory.logs.names import model_of
from workshop_utils.memory.logs.question import Choices
from workshop_utils.memory.logs.reading import read_log
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.widgets.controls import dropdown
from workshop_utils.widgets.number_control import WIDE, WORDS, whole_number
from workshop_utils.widgets.read_log_view import comparison_html
from workshop_utils.widgets.style import box_html, style_html

SILENT = "as in the log"
NOTHING = "Paste vLLM's start-up lines, or torch's message “CUDA out of memory …”."
# Label, argument of Choices, an example, and what the pointer shows.
NUMBERS = (
    ("Tokens", "tokens", "131072 for 128K", "prompt and answer of one sequence"),
    ("Batch size", "batch", "8", "sequences at a time, for transformers"),
    ("TP size", "tensor_parallel", "4", "GPUs that share every matrix"),
    ("PP size", "pipeline_parallel", "2", "stages of layers, one after the other"),
)


class ReadLog:
    """Shows itself in a notebook. Empty fields leave to the log what it says; what is filled in counts first.

    Nothing of the log is kept or sent anywhere.
    """

    def __init__(self, log: str = "", model: str = "", tokens: int | None = None) -> None:
        """Start with a log's text, and with the model and tokens of a run whose log does not say them."""
        self.log = ipywidgets.Textarea(
            log, description="Log", placeholder=NOTHING, rows=8, style=WORDS, layout={"width": "auto"}
        )
        self.model = ipywidgets.Combobox(
            value=model, options=catalogue_names(), description="Model", placeholder=SILENT,
            ensure_option=False, continuous_update=False, style=WORDS, layout=WIDE,
        )  # fmt: skip
        self.numbers = {argument: text_field(label, tooltip) for label, argument, _, tooltip in NUMBERS}
        self.numbers["tokens"].value = "" if tokens is None else str(tokens)
        self.dtype = dropdown("Weights", [(SILENT, ""), *((name, name) for name in PRECISIONS)], "")
        self.kv_dtype = dropdown("KV cache", [(SILENT, ""), *((name, name) for name in KV_BITS)], "")
        self.gpu = dropdown("GPU type", [(SILENT, ""), *((gpu.name, gpu.name) for gpu in load_gpus())], "")
        self.share = text_field("Share of GPU", "vLLM's gpu_memory_utilization, from 0 to 1")
        self.version = text_field("vLLM version", "for example 0.26")
        self.result = ipywidgets.HTML()
        self.fields = (
            self.model, *self.numbers.values(), self.dtype, self.kv_dtype, self.gpu, self.share, self.version,
        )  # fmt: skip
        for control in (self.log, *self.fields):
            control.observe(self._update, names="value")
        self._update()

    def comparison(self) -> Comparison:
        """Return predicted beside actual as the controls stand; WorkshopError for what cannot be read."""
        facts = read_log(self.log.value)
        return compare(facts, model_of(facts, self.model.value.strip()), self._choices())

    def _choices(self) -> Choices:
        counts: dict[str, Any] = {
            argument: whole_number(label.lower(), text, example)
            for label, argument, example, _ in NUMBERS
            if (text := self.numbers[argument].value.strip())
        }
        return Choices(
            **counts,
            dtype=self.dtype.value or None,
            kv_dtype=self.kv_dtype.value or None,
            gpu=find_gpu(self.gpu.value) if self.gpu.value else None,
            gpu_memory_utilization=share_of(self.share.value.strip()),
            engine_version=self.version.value.strip() or None,
        )

    def _update(self, _change: Any = None) -> None:
        if not self.log.value.strip():
            self.result.value = box_html(f'<p class="quiet">{NOTHING}</p>')
            return
        try:
            self.result.value = comparison_html(self.comparison())
        except WorkshopError as error:
            self.result.value = box_html(f'<div class="message" role="alert">✗ {escape(str(error))}</div>')

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        fields = ipywidgets.Box(self.fields, layout={"flex_flow": "row wrap"})
        box = ipywidgets.VBox([ipywidgets.HTML(style_html()), self.log, fields, self.result])
        return with_fallback(box, style_html() + self.result.value, "Read my log: paste it into this cell.")


def text_field(label: str, tooltip: str) -> Any:
    """Return a field that is empty, for what the log does not say."""
    return ipywidgets.Text(
        "", description=label, tooltip=tooltip, placeholder=SILENT, continuous_update=False, style=WORDS,
        layout=WIDE,
    )  # fmt: skip


def share_of(text: str) -> float | None:
    """Return the share that is typed, None for nothing; WorkshopError for anything else."""
    try:
        return float(text) if text else None
    except ValueError:
        raise WorkshopError(f"share of GPU {text!r} is no number; give one such as 0.9.") from None
