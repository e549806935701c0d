"""Load it here: a map carried out on this machine's devices, measured beside predicted, and let go again."""

import contextlib
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets

from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.big_model.devices import DISK, HOST, Key
from workshop_utils.parallel.big_model.dispatched_twin import dispatch_twin
from workshop_utils.parallel.big_model.load import offloaded_modules, release
from workshop_utils.parallel.big_model.offload_folder import clear_if_dead
from workshop_utils.storage import cache_folder
from workshop_utils.units import format_gib
from workshop_utils.widgets.device_map_explorer_result import Explored
from workshop_utils.widgets.later import Later
from workshop_utils.widgets.style import box_html
from workshop_utils.widgets.words import difference

LOAD = "Load it here"
FOLDER_PREFIX = "explorer-"
TWIN = "Makes a shape twin: the true architecture with random weights, and nothing is downloaded."


class LoadHere:
    """A button that loads what was last offered and, pressed again, releases it; ``box`` shows it."""

    def __init__(self) -> None:
        self.button = ipywidgets.Button(description=LOAD, layout={"width": "max-content"})
        self.words, self.report = ipywidgets.HTML(), ipywidgets.HTML()
        self.box = ipywidgets.VBox([self.button, self.words, self.report])
        self._offered: Explored | None = None
        self._model: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._later = Later()
        self.button.on_click(self._pressed)
        self.offer(None)

    @property
    def loaded(self) -> bool:
        return self._model is not None

    def offer(self, found: Explored | None) -> None:
        """Take the map that a press would load; what is loaded stays until it is released."""
        self._offered = found
        if self.loaded:
            return
        reason = why_not(found)
        self.button.description, self.button.disabled = LOAD, bool(reason)
        self.button.tooltip = reason or TWIN
        self._say(f'<div class="quiet">{escape(reason or TWIN)}</div>')

    def finish(self) -> None:
        """Do now what a press started."""
        self._later.finish()

    def _pressed(self, _button: Any) -> None:
        found = self._offered
        self.button.disabled = True
        if self.loaded:
            self._release()
            self.report.value = ""
            self.offer(found)
        elif found is not None and not why_not(found):
            self._say('<div role="status">loading… the kernel answers again when it is done</div>')
            self._later.start(self._load(found))

    def _load(self, found: Explored) -> Iterator[None]:
        """Load, measure and report; whatever goes wrong is a sentence, and nothing is left."""
        try:
            measured = self._measured(found)
        except (WorkshopError, RuntimeError, OSError) as error:
            self._release()
            self.offer(self._offered)
            sentence = str(error).partition("\n")[0]
            self.report.value = box_html(f'<div class="message" role="alert">✗ {escape(sentence)}</div>')
            return
        self.button.description, self.button.tooltip = f"Release {found.asked.model}", "gives the memory back"
        self.button.disabled = False
        self._say("")
        self.report.value = report_html(found, measured)
        yield

    def _measured(self, found: Explored) -> dict[Key, int]:
        """Load the map and return the bytes of weights that each device then holds."""
        import torch

        placement = found.fit.placement
        folder = None
        if placement.bytes_by_device[DISK]:
            cache_folder().mkdir(parents=True, exist_ok=True)
            remove_abandoned(cache_folder())
            self._folder = tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=cache_folder())
            folder = Path(self._folder.name)
        gpus = [gpu.key for gpu in found.fit.devices.gpus]
        before = {key: torch.cuda.memory_allocated(key) for key in gpus}
        self._model = dispatch_twin(
            found.asked.model, placement.modules, dtype=found.asked.dtype, offload_folder=folder
        )
        measured: dict[Key, int] = {key: torch.cuda.memory_allocated(key) - before[key] for key in gpus}
        measured[HOST] = host_bytes(self._model)
        measured[DISK] = sum(file.stat().st_size for file in folder.glob("*.dat")) if folder else 0
        return measured

    def _release(self) -> None:
        if self._model is not None:
            release(self._model)
        self._model = None
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = None

    def _say(self, html: str) -> None:
        self.words.value = box_html(html)


def why_not(found: Explored | None) -> str:
    """Return why a map cannot be loaded here; nothing where it can."""
    if found is None:
        return "There is no map to load."
    if found.asked.devices.imagined:
        return "These devices are imagined: choose 'this machine' to load a model."
    lacking = [f"{column.name} lacks {format_gib(column.excess_bytes)}" for column in found.columns if
               column.excess_bytes]  # fmt: skip
    if lacking:
        return f"Not loaded, because it would run out of memory: {'; '.join(lacking)}."
    return ""


def remove_abandoned(cache: Path) -> None:
    """Remove the offload folders of explorers whose kernel was killed; those of living ones stay."""
    for folder in cache.glob(f"{FOLDER_PREFIX}*"):
        # Another user's, or not empty: somebody lives there. An empty one that a living explorer has just
        # made may go too, taking it makes it again.
        with contextlib.suppress(OSError):
            clear_if_dead(folder)
            folder.rmdir()


def host_bytes(model: Any) -> int:
    """Return the bytes of weights in host memory: the parameters there, and what Accelerate's hooks keep."""
    tensors = [parameter for parameter in model.parameters() if parameter.device.type == "cpu"]
    for _, hook in offloaded_modules(model):
        kept = getattr(getattr(hook.weights_map, "dataset", None), "state_dict", None)
        tensors += (kept or {}).values()
    # A storage that several names share counts once.
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def report_html(found: Explored, measured: dict[Key, int]) -> str:
    """Return the weights on each device, measured beside the map's."""
    predicted = found.fit.placement.bytes_by_device
    rows = "".join(
        f'<tr><th scope="row">{escape(device.label)}</th>'
        f'<td class="number">{format_gib(predicted[device.key])}</td>'
        f'<td class="number">{format_gib(measured[device.key])}</td>'
        f"<td>{difference(measured[device.key], predicted[device.key])}</td></tr>"
        for device in found.fit.devices.all
    )
    return box_html(
        f"<h4>Loaded: {escape(found.asked.model)}, weights on each device</h4>"
        '<table><thead><tr><th scope="col">device</th><th scope="col" class="number">predicted</th>'
        '<th scope="col" class="number">measured</th><th scope="col">measured is</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
        '<div class="quiet">Measured: on a GPU what torch has allocated, on the host the tensors there, on '
        "the disk the files of the offload folder.</div>"
    )
