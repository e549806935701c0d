"""GPU types that researchers meet, from ``gpus.json``: memory, speed, links, each with a source.

The file goes from the largest to the smallest. It is JSON, which Python reads ten times faster than TOML: a
cold ``workshop estimate`` waits for it.
"""

import json
import os
from dataclasses import dataclass
from typing import Literal

from workshop_utils.errors import WorkshopError
from workshop_utils.units import GIB


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU type.

    ``marketed_gb`` stands on the box; ``usable_gib`` is what a CUDA program gets (torch's ``total_memory``),
    always less. ``usable_certainty`` is measured where ``usable_source`` names a machine that reported it.
    ``half_tflops`` is without sparsity, for bfloat16, or for float16 where ``native_bf16`` is false.
    ``nvlink_gb_per_s`` sums both directions over all links of one GPU, None where there is none (workstation
    cards: with a bridge). ``source`` is the vendor's document for the speeds.
    """

    name: str
    full_name: str
    marketed_gb: int
    usable_gib: float
    usable_source: str
    usable_certainty: Literal["measured", "assumed"]
    bandwidth_gb_per_s: float
    half_tflops: float
    nvlink_gb_per_s: float | None
    pcie: str
    compute_capability: str
    native_bf16: bool
    source: str

    @property
    def usable_bytes(self) -> int:
        return int(self.usable_gib * GIB)


def load_gpus() -> tuple[Gpu, ...]:
    """Return all GPU types, in the order of the file."""
    with open(os.path.join(os.path.dirname(__file__), "gpus.json"), encoding="utf-8") as file:
        entries = json.load(file)
    return tuple(Gpu(**{"nvlink_gb_per_s": None, **entry}) for entry in entries)


def find_gpu(name: str) -> Gpu:
    """Return the GPU type called ``name``, ours or the driver's, in any case and spacing.

    Raises WorkshopError with the closest names, also where a name such as ``A100`` fits several types.
    """
    import difflib  # here and in models/find.py: only a name that is wrong needs it

    gpus = load_gpus()
    wanted = plain(name)
    for gpu in gpus:
        if wanted in {plain(gpu.name), plain(gpu.full_name)}:
            return gpu
    names = {plain(gpu.name): gpu.name for gpu in gpus}
    alike = [short for short in names if wanted and short.startswith(wanted)]
    close = alike or difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    choices = ", ".join(names[match] for match in close or names)
    raise WorkshopError(f"no GPU type is called {name!r} in the catalogue; choose one of {choices}.")


def plain(name: str) -> str:
    """Return ``name`` without case, spaces, dashes and the vendor's brands."""
    words = name.casefold().replace("-", " ").split()
    return "".join(word for word in words if word not in {"nvidia", "geforce", "tesla"})
