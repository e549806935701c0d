"""The device-map explorer's controls; what is wrong with one is said under it."""

from collections.abc import Callable
from html import escape
from typing import Any, TypeVar

import ipywidgets

from workshop_utils.errors import WorkshopError
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import DeviceSet, devices_here, imagined_devices
from workshop_utils.parallel.big_model.peaks import workload_of
from workshop_utils.widgets.controls import dropdown, model_choice
from workshop_utils.widgets.device_map_explorer_limits import Limits
from workshop_utils.widgets.device_map_explorer_result import FITTING, KINDS_OF_MAP, Asked
from workshop_utils.widgets.number_control import WIDE, WORDS, NumberControl, whole_number
from workshop_utils.widgets.open_choice import OpenChoice
from workshop_utils.widgets.slider_names import SliderNames
from workshop_utils.widgets.style import box_html

HERE = "this machine"
EXAMPLES = (
    HERE, "none", "1 x A40", "2 x A40", "4 x A40", "1 x H100-80GB", "2 x H100-80GB", "8 x H200",
    "1 x H100-80GB + 1 x A40",
)  # fmt: skip
OTHER_DEVICES = "other devices …"
PRECISIONS_OF_TORCH = ("bfloat16", "float16", "float32")
KIND_LABELS = {
    "balanced": 'balanced (also "auto")',
    "balanced_low_0": "balanced_low_0",
    "sequential": "sequential",
    FITTING: "fitting (holds at this context)",
}

Value = TypeVar("Value")


class ExplorerControls:
    """Everything that a reader chooses. ``box`` shows it; ``observe`` tells of each change."""

    def __init__(self, model: str, devices: str, tokens: int, batch: int) -> None:
        self.model = model_choice(model)
        self.devices = OpenChoice(
            "Devices",
            [*EXAMPLES, OTHER_DEVICES],
            devices,
            placeholder="3 x A100-40GB + 1 x L4",
            typed="GPU types with their numbers, such as 3 x A100-40GB + 1 x L4",
        )
        self.host = ipywidgets.Text(
            "64", description="Host GiB", continuous_update=False, style=WORDS, layout=dict(WIDE),
            tooltip="host memory of an imagined machine",
        )  # fmt: skip
        self.tokens = NumberControl("Tokens", tokens, powers=(8, 20), step=0.25, example="131072 for 128K")
        self.batch = NumberControl("Batch size", batch, powers=(0, 10), example="8")
        self.dtype = dropdown("Weights", list(PRECISIONS_OF_TORCH), "bfloat16")
        self.kind = dropdown("Map", [(KIND_LABELS[kind], kind) for kind in KINDS_OF_MAP], "balanced")
        self.limits = Limits()
        self.slots = {name: ipywidgets.HTML() for name in ("model", "devices", "tokens", "batch", "map")}
        self._set: tuple[tuple[str, str], DeviceSet] | None = None

    @property
    def box(self) -> Any:
        """All controls in the order in which the tab key visits them, what is wrong under each."""
        title = ipywidgets.HTML(box_html("<h4>max_memory of each device</h4>"))
        asked = (
            self.model.list, self.model.text, self.slots["model"], self.devices.list, self.devices.text,
            self.host, self.slots["devices"], self.tokens.field, self.tokens.slider,
            self.slots["tokens"], self.batch.field, self.batch.slider, self.slots["batch"], self.dtype,
        )  # fmt: skip
        mapped = (self.kind, title, self.limits.box, self.slots["map"])
        return ipywidgets.Box(
            [ipywidgets.VBox(asked), ipywidgets.VBox(mapped), SliderNames()],
            layout={"flex": "1 1 345px", "flex_flow": "row wrap", "align_content": "flex-start"},
        )

    def observe(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` after each change of what is chosen."""
        for group in (self.model, self.devices, self.tokens, self.batch):
            group.observe(lambda _: changed())
        for control in (self.host, self.dtype, self.kind):
            control.observe(lambda _: changed(), names="value")
        self.limits.observe(changed)

    def asked(self) -> Asked | None:
        """Return what is chosen; None where a value is bad, which then is said under its control."""
        model = self._read("model", self._model)
        devices = self._read("devices", self._devices)
        tokens = self._read("tokens", lambda: workload_of(self.tokens.number()).tokens)
        batch = self._read("batch", lambda: workload_of(1, self.batch.number()).batch)
        self.say("map", "")
        if devices is not None:
            self.limits.set_devices(devices)
            self.host.layout.display = None if devices.imagined else "none"
        if model is None or devices is None or tokens is None or batch is None:
            return None
        kind = str(self.kind.value)
        limits = None if kind == FITTING else self.limits.max_memory()
        return Asked(model, devices, tokens, batch, str(self.dtype.value), kind, limits)

    def say(self, name: str, sentence: str) -> None:
        """Show a sentence at a control, or nothing."""
        words = f'<div class="message slot" role="alert">✗ {escape(sentence)}</div>' if sentence else ""
        self.slots[name].value = box_html(words)

    def _read(self, name: str, read: Callable[[], Value]) -> Value | None:
        try:
            value = read()
        except WorkshopError as error:
            self.say(name, str(error))
            return None
        self.say(name, "")
        return value

    def _model(self) -> str:
        name = self.model.chosen()
        find_architecture(name)
        return name

    def _devices(self) -> DeviceSet:
        """Return the devices; this machine is only looked at when it is chosen, as its sliders stay put."""
        text = self.devices.chosen().strip()
        asked = (text, self.host.value)
        if self._set is None or self._set[0] != asked:
            self._set = (asked, self._found(text))
        return self._set[1]

    def _found(self, text: str) -> DeviceSet:
        if text.casefold() == HERE:
            return devices_here()
        return imagined_devices(text, host_gib=whole_number("host GiB", self.host.value, "64"))
