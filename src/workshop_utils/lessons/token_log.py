"""One token through a model with Accelerate's hooks: what was fetched, what moved, how long each layer took.

Accelerate replaces a module's ``forward`` by one that calls ``pre_forward`` of the module's ``_hf_hook``,
the old ``forward``, and ``post_forward`` (accelerate 1.15, hooks.py). ``NotingHook`` stands in front of
such a hook.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from workshop_utils.measure.provenance import cpu_name, hardware_name
from workshop_utils.measure.stages import decoder_layers
from workshop_utils.parallel.big_model.devices import Key
from workshop_utils.parallel.big_model.placement import home_of


@dataclass
class Unit:
    """The embedding, one layer, the norm or the head, for one token; ``fetch_ms`` is part of ``total_ms``.

    ``fetched_bytes``: weights that a hook brought; ``moved_bytes``: hidden states from another device.
    """

    name: str
    home: Key
    total_ms: float = 0.0
    fetch_ms: float = 0.0
    fetched_bytes: int = 0
    moved_bytes: int = 0

    @property
    def work_ms(self) -> float:
        return max(0.0, self.total_ms - self.fetch_ms)


class NotingHook:
    """Notes what a hook of Accelerate does before its module runs, and lets it do it.

    ``no_grad``: Accelerate asks every hook whether the module must run without gradients.
    """

    no_grad = False

    def __init__(self, hook: Any, unit: Unit) -> None:
        self.hook, self.unit = hook, unit

    def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> Any:
        """Let the hook fetch the module's weights and move its inputs."""
        before = device_and_bytes(args, kwargs)
        settle()
        began = time.perf_counter()
        result = self.hook.pre_forward(module, *args, **kwargs)
        settle()
        if getattr(self.hook, "offload", False):
            self.unit.fetch_ms += 1000 * (time.perf_counter() - began)
            self.unit.fetched_bytes += sum(own.nbytes for own in module.parameters(recurse=False))
        after = device_and_bytes(*result)
        if before is not None and after is not None and before[0] != after[0]:
            self.unit.moved_bytes += after[1]
        return result

    def post_forward(self, module: Any, output: Any) -> Any:
        """Let the hook drop the weights again."""
        return self.hook.post_forward(module, output)


def device_and_bytes(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return device and size of the first tensor that a module is given: the hidden states."""
    import torch

    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor):
            return str(value.device), value.nbytes
    return None


def settle() -> None:
    """Wait until every GPU has done what it was given."""
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            torch.cuda.synchronize(number)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of the CPU inside this block.

    Reading weights keeps one core nearly as fast as two. With more threads than idle cores, each of a token's
    200 products waits for the slowest thread: beside a busy neighbour a token then took 20 times as long.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def place_words() -> str:
    """Return where a token was timed: the GPUs, or the CPU of which ``one_thread`` was used."""
    import torch

    return hardware_name() if torch.cuda.is_available() else f"{cpu_name()}, with one thread"


def units_of(model: Any, modules: Mapping[str, Key]) -> dict[str, Unit]:
    """Return the units of a model by their module's name, in the order of a token."""
    path, layers = decoder_layers(model)
    names = {id(module): name for name, module in model.named_modules()}
    first, last = (names[id(part())] for part in (model.get_input_embeddings, model.get_output_embeddings))
    norm = f"{path.rpartition('.')[0]}.norm".lstrip(".")
    units = {first: "embedding"} | {f"{path}.{number}": f"{number}" for number in range(len(layers))}
    units |= {name: word for name, word in ((norm, "norm"), (last, "head")) if name in names.values()}
    return {name: Unit(word, home_of(name, modules)) for name, word in units.items()}


@contextmanager
def noted(model: Any, units: Mapping[str, Unit]) -> Iterator[None]:
    """Note every token inside this block; afterwards the model is as it was."""
    hooks = {}
    for name, module in model.named_modules():
        unit = next((units[part] for part in parents(name) if part in units), None)
        if unit is not None and hasattr(module, "_hf_hook"):
            hooks[module] = module._hf_hook
            module._hf_hook = NotingHook(module._hf_hook, unit)
    handles: list[Any] = []
    for name, unit in units.items():
        handles += timed(model.get_submodule(name), unit)
    try:
        yield
    finally:
        for module, hook in hooks.items():
            module._hf_hook = hook
        for handle in handles:
            handle.remove()


def parents(name: str) -> Iterator[str]:
    """Yield a module's name and those of the modules around it."""
    while name:
        yield name
        name = re.sub(r"\.?[^.]*$", "", name)


def timed(module: Any, unit: Unit) -> tuple[Any, Any]:
    """Add a module's time to its unit; returns handles that end this. Torch's hooks enclose Accelerate's."""
    began = [0.0]

    def start(*_: Any) -> None:
        settle()
        began[0] = time.perf_counter()

    def stop(*_: Any) -> None:
        settle()
        unit.total_ms += 1000 * (time.perf_counter() - began[0])

    return module.register_forward_pre_hook(start), module.register_forward_hook(stop)


def one_token(model: Any, ids: Any) -> tuple[Unit, ...]:
    """Return how the second token after the prompt ``ids`` (1, tokens) passes a dispatched model."""
    import torch

    units = units_of(model, model.hf_device_map)
    with torch.inference_mode(), one_thread():
        made = model(ids, use_cache=True)
        for attempt in range(2):  # the first one warms up
            token = made.logits[:, -1:].argmax(-1).to(ids.device)
            if attempt == 0:
                made = model(token, past_key_values=made.past_key_values, use_cache=True)
                continue
            with noted(model, units):
                model(token, past_key_values=made.past_key_values, use_cache=True)
    return tuple(units.values())
