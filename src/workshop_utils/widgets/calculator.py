"""The memory calculator: five controls, and the estimate that follows them."""

import math
from typing import Any

import ipywidgets

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import load_gpus
from workshop_utils.lessons.fallback import with_fallback
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.models.find import find_architecture
from workshop_utils.units import format_gb
from workshop_utils.widgets.calculator_view import error_html, estimate_html, gpus_html

DEFAULT_CACHE = "as the weights, or bfloat16"
WIDE = {"width": "340px"}
WORDS = {"description_width": "110px"}
# The slider goes in quarter steps of a doubling from 256 tokens to 2²⁰; the field takes any number.
LOWEST, HIGHEST, STEP = 8, 20, 0.25


class Calculator:
    """Shows itself in a notebook; ``html`` is what stands beside and below the controls."""

    def __init__(self, model: str = "gemma-3-4b", tokens: int = 131_072, batch: int = 1) -> None:
        self._gpus = load_gpus()
        self.model = _dropdown("Model", list(catalogue_names()), model)
        self.dtype = _dropdown("Weights", list(PRECISIONS), "bfloat16")
        self.kv_dtype = _dropdown("KV cache", [DEFAULT_CACHE, *KV_BITS], DEFAULT_CACHE)
        self.tokens = ipywidgets.IntText(tokens, description="Tokens", style=WORDS, layout=WIDE)
        self.slider = ipywidgets.FloatLogSlider(
            _slider_place(tokens), base=2, min=LOWEST, max=HIGHEST, step=STEP, readout=False,
            description="Tokens (log)", style=WORDS, layout=WIDE,
        )  # fmt: skip
        self.batch = ipywidgets.IntSlider(batch, 1, 128, description="Batch size", style=WORDS, layout=WIDE)
        self._output = ipywidgets.HTML(layout={"flex": "1 1 420px", "margin": "0 0 0 16px"})
        self._gpu_output = ipywidgets.HTML(layout=WIDE)
        self.slider.observe(self._slider_moved, names="value")
        self.tokens.observe(self._tokens_typed, names="value")
        for control in (self.model, self.dtype, self.kv_dtype, self.tokens, self.batch):
            control.observe(self._update, names="value")
        self._update()

    @property
    def html(self) -> str:
        return f"{self._output.value}{self._gpu_output.value}"

    def estimate(self) -> Estimate:
        """Return the estimate for the controls as they stand; WorkshopError for a value out of range."""
        return estimate(
            find_architecture(self.model.value),
            tokens=self.tokens.value,
            batch=self.batch.value,
            dtype=self.dtype.value,
            kv_dtype=None if self.kv_dtype.value == DEFAULT_CACHE else self.kv_dtype.value,
        )

    def _update(self, _change: Any = None) -> None:
        try:
            result = self.estimate()
        except WorkshopError as error:
            self._output.value, self._gpu_output.value = error_html(str(error)), ""
            self._words = str(error)
            return
        self._output.value, self._gpu_output.value = estimate_html(result), gpus_html(result, self._gpus)
        self._words = format_gb(result.process_bytes)

    def _slider_moved(self, change: dict[str, Any]) -> None:
        # A typed number lies between two steps: the slider goes to the nearest and must not round the number.
        if not math.isclose(_slider_place(self.tokens.value), change["new"], rel_tol=1e-6):
            self.tokens.value = round(change["new"])

    def _tokens_typed(self, change: dict[str, Any]) -> None:
        self.slider.value = _slider_place(change["new"])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        controls = (self.model, self.dtype, self.kv_dtype, self.tokens, self.slider, self.batch)
        left = ipywidgets.VBox([*controls, self._gpu_output])
        box = ipywidgets.HBox(
            [left, self._output], layout={"flex_flow": "row wrap", "align_items": "flex-start"}
        )
        text = f"Calculator: {self.model.value}, {self.tokens.value:,} tokens, batch {self.batch.value}"
        return with_fallback(box, f"<p>{text}</p>{self.html}", f"{text}: {self._words}")


def _dropdown(description: str, options: list[str], value: str) -> Any:
    return ipywidgets.Dropdown(
        options=options, value=value, description=description, style=WORDS, layout=WIDE
    )


def _slider_place(tokens: int) -> float:
    """Return where the slider stands for so many tokens: its nearest step.

    The browser moves a handle that is between two steps and sends that place back as if it had been chosen.
    """
    power = math.log2(max(tokens, 1))
    return float(2 ** (STEP * round(min(max(power, LOWEST), HIGHEST) / STEP)))
