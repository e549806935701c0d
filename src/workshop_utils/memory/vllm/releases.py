"""What vLLM decides by its version: ``vllm.toml``, table by table up to the release."""

import functools
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.models.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Release:
    """The rules of one version of vLLM.

    ``second_runner``: which models its newer model runner takes (``no``, ``listed``, ``dense``, ``all``).
    The older one warms up a sampler of full precision; the newer one, at first, neither that nor the graphs
    nor the image tower, so that its budget leaves more to the cache.
    ``counts_runner_state``: what the runner keeps for penalties lies inside the budget.
    ``limits_splits``: weights are loaded with an allocator that splits no large block.
    ``all_reduce_granularity_mib``: what each of FlashInfer's buffers for adding up over ranks is rounded to;
    ``all_reduce_rest_mib``: what was logged beside them; ``all_reduce_with_stages``: whether pipeline stages
    leave it those buffers.
    ``reserves_batches_in_flight``: a sliding layer keeps room for every batch under way, not for one.
    """

    version: str
    gpu_memory_utilization: float
    counts_graphs: bool
    second_runner: Literal["no", "listed", "dense", "all"]
    second_runner_types: tuple[str, ...]
    second_runner_counts_graphs: bool
    second_runner_profiles_images: bool
    second_runner_logit_bytes: int
    counts_runner_state: bool
    limits_splits: bool
    all_reduce_granularity_mib: int
    all_reduce_rest_mib: int
    all_reduce_with_stages: bool
    reserves_batches_in_flight: bool
    tokens_from_concurrency: bool

    def takes_second_runner(self, architecture: Architecture) -> bool:
        """Return whether the newer model runner serves this model by default."""
        if self.second_runner == "all" or architecture.model_type in self.second_runner_types:
            return True
        plain = not any(layer.experts or layer.attention.state_values for layer in architecture.layers)
        return self.second_runner == "dense" and plain


@functools.cache
def constants() -> dict[str, Any]:
    """Return ``vllm.toml``."""
    with Path(__file__).with_name("vllm.toml").open("rb") as file:
        return tomllib.load(file)


def number(version: str) -> tuple[int, int]:
    """Return major and minor number of ``0.19.1`` or ``v0.19``; WorkshopError with the range."""
    parts = version.strip().removeprefix("v").split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        raise unknown(version) from None


def unknown(version: str) -> WorkshopError:
    """Return the error for a version whose rules are not known."""
    oldest, newest = constants()["oldest"], constants()["newest"]
    return WorkshopError(
        f"vLLM version {version!r} is not estimated; give one from {oldest} to {newest}, such as {newest}."
    )


def find_release(version: str | None = None) -> Release:
    """Return the rules of ``version``, the newest known where none is given or it is newer.

    Raises WorkshopError for a version before the oldest one whose source was read.
    """
    wanted = constants()["newest"] if version is None else version
    if number(wanted) < number(constants()["oldest"]):
        raise unknown(wanted)
    rules: dict[str, Any] = {}
    for table in constants()["since"]:
        if number(table["version"]) <= number(wanted):
            rules |= table
    rules |= {"version": wanted, "second_runner_types": tuple(rules["second_runner_types"])}
    return Release(**{field.name: rules[field.name] for field in fields(Release)})


def batch_defaults(release: Release, gpu: Gpu) -> tuple[int, int]:
    """Return (max_num_batched_tokens, max_num_seqs) that ``vllm serve`` takes on this GPU."""
    tiers = [
        tier
        for tier in constants()["batch"]
        if number(tier["since"]) <= number(release.version)
        and gpu.usable_gib >= tier["at_least_gib"]
        and not (tier["except"] and tier["except"] in gpu.full_name)
    ]
    return tiers[0]["tokens"], tiers[0]["sequences"]
