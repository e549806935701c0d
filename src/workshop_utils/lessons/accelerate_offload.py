"""Notebook 07: the small real model on a map that is too tight, and what its tokens cost."""

import atexit
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from workshop_utils.lessons.accelerate_maps import bytes_by_device, device_words, parts_by_device, size_words
from workshop_utils.lessons.accelerate_quiet import quiet_accelerate
from workshop_utils.lessons.accelerate_speeds import Speeds
from workshop_utils.lessons.replicas import chat_prompts
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.tier import find_tier
from workshop_utils.lessons.token_log import one_thread, place_words, settle
from workshop_utils.measure.generation import device_here
from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.models.small_model import small_model_folder
from workshop_utils.parallel.big_model.devices import HOST, Key
from workshop_utils.storage import cache_folder, require_space, require_writable
from workshop_utils.units import GB

PREFIX = "notebook-07-"
# Shards of the small model in float32, and once more what is offloaded.
NEEDED_BYTES = 1_200_000_000
# For 538 MB: every kind of device that there is gets a share, the fast ones a third together.
TIGHT: Mapping[str, dict[Key, str]] = {
    "cpu": {HOST: "200MB"},
    "one_gpu": {0: "200MB", HOST: "150MB"},
    "multi_gpu": {0: "150MB", 1: "70MB", HOST: "150MB"},
}
QUESTION = "Write one sentence about rivers."
NEW_TOKENS, WARM_UP_TOKENS = 6, 1


def lesson_folder() -> Path:
    """Return a new folder in the workshop's cache, deleted when this kernel ends; older ones are deleted now.

    The name says host and process, so that what a killed kernel left is known. Raises WorkshopError without
    room or permission.
    """
    root = cache_folder()
    require_writable(root)
    here = f"{PREFIX}{socket.gethostname()}-"
    for old in root.glob(f"{here}*"):
        number = old.name.removeprefix(here).partition("-")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(old, ignore_errors=True)
    require_space(root, NEEDED_BYTES)
    folder = Path(tempfile.mkdtemp(prefix=f"{here}{os.getpid()}-", dir=root))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def load_whole() -> Any:
    """Return the small model in float32 on this machine's fastest device, all of its weights in place."""
    quiet_torchao()
    quiet_accelerate()
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(small_model_folder(), dtype=torch.float32)
    return model.to(device_here())


def tight_memory() -> dict[Key, str]:
    """Return a ``max_memory`` that no tier's fastest device can keep the small model in."""
    return dict(TIGHT[find_tier().name])


def question_ids() -> Any:
    """Return one short question as token ids (1, tokens), where the model runs."""
    import torch
    from transformers import AutoTokenizer

    (ids,) = chat_prompts(AutoTokenizer.from_pretrained(small_model_folder()), [QUESTION])
    return torch.tensor([ids], device=device_here())


@dataclass(frozen=True)
class Decoded:
    """Greedy tokens, and the ms of each decode step; ``tpot_ms`` is their median."""

    tokens: tuple[int, ...]
    step_ms: tuple[float, ...]

    @property
    def tpot_ms(self) -> float:
        return median(self.step_ms)


def decode(model: Any, ids: Any, new_tokens: int = NEW_TOKENS) -> Decoded:
    """Return the first ``new_tokens`` tokens after ``ids`` (1, tokens), greedily; the first step warms up."""
    import torch

    tokens, steps = [], []
    with torch.inference_mode(), one_thread():
        made = model(ids, use_cache=True)
        for number in range(WARM_UP_TOKENS + new_tokens):
            token = made.logits[:, -1:].argmax(-1).to(ids.device)
            settle()
            began = time.perf_counter()
            made = model(token, past_key_values=made.past_key_values, use_cache=True)
            settle()
            if number >= WARM_UP_TOKENS:
                steps.append(1000 * (time.perf_counter() - began))
            tokens.append(int(token))
    return Decoded(tuple(tokens), tuple(steps))


def away_bytes(model: Any, modules: Mapping[str, Key]) -> dict[Key, int]:
    """Return the bytes that are fetched for every token, by the device where they lie."""
    sizes = bytes_by_device(model, modules)
    fastest: set[Key] = {key for key in sizes if isinstance(key, int)} or {HOST}
    return {key: size for key, size in sizes.items() if key not in fastest}


def plan_table(model: Any, modules: Mapping[str, Key], speeds: Speeds, whole: Decoded) -> Table:
    """Return where the parts of a model lie, what of it is fetched for a token, and how fast that can be."""
    sizes, fetched = bytes_by_device(model, modules), away_bytes(model, modules)
    rows = []
    for key, parts in parts_by_device(modules).items():
        speed = (
            f"{fetched[key] / speeds.ms(key, fetched[key]) * 1000 / GB:.1f} GB/s" if key in fetched else ""
        )
        rows.append((device_words(key), parts, size_words(sizes[key]), speed or "stays there"))
    disk = f" The disk itself: {speeds.disk / GB:.1f} GB/s." if speeds.disk else ""
    caption = (
        f"Measured here on {place_words()}: a token takes {whole.tpot_ms:.0f} ms with all in place. "
        f"Files are read from spare memory, where Linux keeps what was read last.{disk}"
    )
    return Table(("device", "holds", "weights", "come for every token at"), rows, caption, text_columns=2)


def cost_table(
    model: Any, modules: Mapping[str, Key], speeds: Speeds, whole: Decoded, runs: Mapping[str, Decoded]
) -> Table:
    """Return a token's time with all weights in place beside runs with the map ``modules``."""
    fetched = away_bytes(model, modules)
    expected = whole.tpot_ms + sum(speeds.ms(key, size) for key, size in fetched.items())
    size = size_words(sum(fetched.values()))
    rows = [("all weights in place", "nothing", "", f"{whole.tpot_ms:.0f} ms", "1.0 ×", "")]
    rows += [
        (
            name,
            size,
            f"{expected:.0f} ms",
            f"{run.tpot_ms:.0f} ms",
            f"{run.tpot_ms / whole.tpot_ms:.1f} ×",
            "yes" if run.tokens == whole.tokens else "no",
        )
        for name, run in runs.items()
    ]
    headers = (
        "SmolLM2 in float32",
        "fetched for a token",
        "expected",
        "a token takes",
        "against in place",
        "same tokens",
    )
    return Table(headers, rows, f"Medians of {len(whole.step_ms)} tokens, measured here on {place_words()}.")
