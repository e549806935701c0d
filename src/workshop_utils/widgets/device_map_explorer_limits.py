"""One ``max_memory`` slider for each GPU and for the host, in GiB."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ipywidgets

from workshop_utils.parallel.big_model.devices import DeviceSet, Key
from workshop_utils.parallel.big_model.maps import default_limits
from workshop_utils.units import GIB
from workshop_utils.widgets.number_control import WIDE, WORDS

STEP = 0.1  # GiB
# Taller than eight GPUs and the host: more sliders than that scroll.
TALLEST = "330px"


class Limits:
    """Starts at what ``from_pretrained`` takes where nobody says; ``box`` shows the sliders."""

    def __init__(self) -> None:
        self.sliders: dict[Key, Any] = {}
        self.reset = ipywidgets.Button(
            description="All limits as at first",
            tooltip="what Accelerate takes where nobody gives max_memory",
            layout={"width": "180px", "margin": "2px 0 2px 112px"},
        )  # fmt: skip
        self.rows = ipywidgets.VBox(layout={"max_height": TALLEST, "overflow": "hidden auto"})
        self.box = ipywidgets.VBox([self.rows, self.reset])
        self._first: dict[Key, int] = {}
        self._most: dict[Key, int] = {}
        self._own: dict[Key, float] = {}
        self._quiet = False
        self._changed: Callable[[], None] = lambda: None
        self.reset.on_click(self._back)

    def observe(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` when a reader moves a limit."""
        self._changed = changed

    def set_devices(self, devices: DeviceSet) -> None:
        """Show the sliders of these devices; those of the same devices stay as they are."""
        first, most = default_limits(devices), devices.max_memory()
        if (first, most) == (self._first, self._most):
            return
        self._first, self._most = first, most
        self.sliders = {
            device.key: self._slider(device.key, device.label) for device in (*devices.gpus, devices.host)
        }
        self._own = {key: slider.value for key, slider in self.sliders.items()}
        self.rows.children = tuple(self.sliders.values())

    def max_memory(self) -> dict[Key, int] | None:
        """Return the limits in bytes, exact where a slider was not moved; None where none was."""
        if all(self._own[key] == in_steps(size) for key, size in self._first.items()):
            return None
        return {key: self._bytes(key, place) for key, place in self._own.items()}

    def show(self, limits: Mapping[Key, int] | None) -> None:
        """Show limits that a fit chose, which cannot be moved; None gives the reader's own back."""
        with self._silently():
            for key, slider in self.sliders.items():
                slider.disabled = limits is not None
                slider.value = self._own[key] if limits is None else in_steps(limits.get(key, 0))
        self.reset.disabled = limits is not None

    def _slider(self, key: Key, label: str) -> Any:
        name = f"GPU {key}" if isinstance(key, int) else "Host"
        slider = ipywidgets.FloatSlider(
            in_steps(self._first[key]), min=0.0, max=in_steps(self._most[key]), step=STEP,
            readout_format=".1f",
            description=f"{name} (GiB)",
            tooltip=f"max_memory of {label}", style=WORDS, layout=WIDE,
        )  # fmt: skip
        slider.observe(lambda change: self._moved(key, change["new"]), names="value")
        return slider

    def _moved(self, key: Key, place: float) -> None:
        # A browser may send back the place of a slider that cannot be moved.
        if not self._quiet and not self.sliders[key].disabled:
            self._own[key] = place
            self._changed()

    def _bytes(self, key: Key, place: float) -> int:
        for exact in (self._first[key], self._most[key]):
            if place == in_steps(exact):
                return exact
        return round(place * GIB)

    def _back(self, _button: Any) -> None:
        self._own = {key: in_steps(size) for key, size in self._first.items()}
        self.show(None)
        self._changed()

    @contextmanager
    def _silently(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


def in_steps(size_bytes: int) -> float:
    """Return GiB on a slider's step, which a browser would go to anyway; never more than the bytes."""
    return round(int(size_bytes / GIB / STEP) * STEP, 1)
