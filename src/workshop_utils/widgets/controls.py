"""The calculator's controls, and what they ask of the engine."""

from collections.abc import Callable
from typing import Any

import ipywidgets

from workshop_utils.hardware.catalogue import Gpu, find_gpu, load_gpus
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.memory.vllm.experts import most_ranks
from workshop_utils.memory.workload import engine_names, engines_with, find_engine
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.units import format_gib
from workshop_utils.widgets.number_control import WIDE, WORDS, NumberControl, whole_number
from workshop_utils.widgets.open_choice import OpenChoice
from workshop_utils.widgets.slider_names import SliderNames

OTHER_MODEL = "another model …"
DEFAULT_CACHE = "as the weights, or bfloat16"
ANY_GPU = "any type"
SIZE = {"width": "106px"}
# Label, argument of estimate(), and what the pointer shows.
SIZES = (
    ("DP size", "data_parallel", "data parallel: whole copies of the model that share the batch"),
    ("PP size", "pipeline_parallel", "pipeline parallel: stages of layers, one after the other"),
    ("TP size", "tensor_parallel", "tensor parallel: GPUs that share every matrix and the KV heads"),
)


class Controls:
    """Everything that a reader chooses. ``box`` shows it; ``observe`` tells of each change once."""

    def __init__(self, model: str, tokens: int, batch: int, gpu: str | None) -> None:
        self._picked = model_choice(model)
        self.model, self.other_model = self._picked.list, self._picked.text
        self.tokens = NumberControl("Tokens", tokens, powers=(8, 20), step=0.25, example="131072 for 128K")
        self.batch = NumberControl("Batch size", batch, powers=(0, 10), example="8")
        self.dtype = dropdown("Weights", list(PRECISIONS), "bfloat16")
        self.kv_dtype = dropdown("KV cache", [DEFAULT_CACHE, *KV_BITS], DEFAULT_CACHE)
        self.engine = dropdown("Engine", list(engine_names()), "transformers")
        self.attention = dropdown("Attention", list(find_engine("transformers").ATTENTION), None)
        self._gpus = {gpu.name: gpu for gpu in load_gpus()}
        labels = [
            (f"{name}: {format_gib(gpu.usable_bytes)} usable", name) for name, gpu in self._gpus.items()
        ]
        self.gpu = dropdown("GPU type", [(ANY_GPU, ""), *labels], find_gpu(gpu).name if gpu else "")
        self.sizes = {
            argument: ipywidgets.Text(
                "1", description=label, tooltip=words, continuous_update=False,
                style={"description_width": "56px"}, layout=SIZE,
            )
            for label, argument, words in SIZES
        }  # fmt: skip
        self.experts = checkbox(
            "Whole experts on each GPU (expert parallel)",
            "spread over all tensor and data parallel ranks, where tensor parallelism cuts every expert",
        )
        self.experts.layout.display = "none"

    @property
    def box(self) -> Any:
        """All controls in the order in which the tab key visits them."""
        asked = (
            self.model, self.other_model, self.tokens.field, self.tokens.slider, self.batch.field,
            self.batch.slider,
        )  # fmt: skip
        sizes = ipywidgets.HBox(list(self.sizes.values()), layout=WIDE)
        run = (self.dtype, self.kv_dtype, self.engine, self.attention, self.gpu, sizes, self.experts)
        return ipywidgets.Box(
            [ipywidgets.VBox(asked), ipywidgets.VBox(run), SliderNames()],
            layout={"flex": "1 1 345px", "flex_flow": "row wrap", "align_content": "flex-start"},
        )

    def observe(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` after each change of what is chosen."""
        self.tokens.observe(lambda _: changed())
        self.batch.observe(lambda _: changed())
        others = (self.model, self.other_model, self.dtype, self.kv_dtype, self.gpu, *self.sizes.values())
        for control in (*others, self.attention, self.experts):
            control.observe(lambda _: changed(), names="value")

        def engine_changed(change: dict[str, Any]) -> None:
            # Another engine has other choices; where they differ, the new list itself tells of the change.
            before, choices = self.attention.value, find_engine(change["new"]).ATTENTION
            self.attention.options = choices
            if self.attention.value == before:
                changed()

        self.engine.observe(engine_changed, names="value")

    def chosen_model(self) -> str:
        """Return what names the model; WorkshopError where nothing is typed yet."""
        return self._picked.chosen()

    def chosen_gpu(self) -> Gpu | None:
        """Return the GPU type, None for any."""
        return self._gpus[self.gpu.value] if self.gpu.value else None

    def workload(self) -> dict[str, Any]:
        """Return the arguments of ``estimate()`` beside model, GPU type and layout; WorkshopError."""
        return {
            "tokens": self.tokens.number(),
            "batch": self.batch.number(),
            "dtype": self.dtype.value,
            "kv_dtype": None if self.kv_dtype.value == DEFAULT_CACHE else self.kv_dtype.value,
            "engine": self.engine.value,
            "attention": self.attention.value,
        }

    def layout(self, architecture: Architecture) -> dict[str, Any]:
        """Return sizes, and whole experts, as arguments of ``estimate()``; WorkshopError for no number.

        The box for whole experts is there where an engine can spread some over several ranks; where it is
        not, nothing is asked of it, and what was chosen stays for when it is back.
        """
        sizes = {
            argument: whole_number(argument.replace("_", " ") + " size", control.value, "4 for four GPUs")
            for argument, control in self.sizes.items()
        }
        several = max(sizes["tensor_parallel"], sizes["data_parallel"]) > 1
        spreads = self.engine.value in engines_with("expert_parallel") and most_ranks(architecture) > 0
        self.experts.layout.display = None if several and spreads else "none"
        return {**sizes, "expert_parallel": several and spreads and self.experts.value}


def model_choice(model: str) -> OpenChoice:
    """Return the choice of a model: the catalogue's, and a field for any other."""
    return OpenChoice(
        "Model",
        [*catalogue_names(), OTHER_MODEL],
        model,
        placeholder="Hugging Face id, folder, config.json",
        typed="a Hugging Face id that the local cache holds, a model folder or the path of a config.json",
    )


def checkbox(description: str, tooltip: str = "") -> Any:
    """Return a switch that is off."""
    return ipywidgets.Checkbox(
        value=False, description=description, tooltip=tooltip, indent=False, layout={"width": "auto"}
    )


def dropdown(label: str, options: list[Any], value: Any) -> Any:
    """Return a list of choices; ``value`` None is the first."""
    chosen = {} if value is None else {"value": value}
    return ipywidgets.Dropdown(options=options, description=label, style=WORDS, layout=WIDE, **chosen)
