"""What a reader should be warned of, from the samples alone: one place, for all clients."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from workshop_utils.hardware.reading import GpuReading
from workshop_utils.monitor import warning_text
from workshop_utils.monitor.host import HostReading
from workshop_utils.monitor.latch import Latch, Rule
from workshop_utils.monitor.owners import Owner
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.warning_settings import WarningSettings

# A reader cannot follow figures that move each second, and every change is sent to every client.
NEW_TEXT_SECONDS = 10.0
# Percentage points between warning and all-clear; of a limit below 50 % a tenth.
MEMORY_MARGIN, MEMORY_MARGIN_SHARE = 5.0, 0.1
MEMORY_SECONDS, MEMORY_CLEAR_SECONDS = 3.0, 5.0
# A driver's own housekeeping shows as 1 or 2 %; a GPU that computes for two seconds is not idle any more.
IDLE_PERCENT, BUSY_PERCENT, BUSY_SECONDS = 2.0, 5.0, 2.0
# Heat and faults are soon told; every GPU at full load reaches its power limit now and then.
THROTTLED_SECONDS, POWER_LIMITED_SECONDS, THROTTLE_CLEAR_SECONDS = 10.0, 30.0, 10.0


@dataclass(frozen=True)
class ActiveWarning:
    """One warning; the fields are JSON keys of the stream.

    ``gpu`` is None for one of the job; ``since`` is in seconds since 1970.
    """

    kind: str
    gpu: int | None
    since: float
    text: str


class Condition(NamedTuple):
    """What one sample says of one possible warning; ``text`` is given the seconds for which it has held."""

    value: float | None
    rule: Rule
    text: Callable[[float], str]


Key = tuple[str, int | None]
Owners = Mapping[int, Owner]


class Watch:
    """Takes one sample after another. All its memory is the latches, one for each possible warning."""

    def __init__(self, settings: WarningSettings | None = None) -> None:
        self._settings = settings or WarningSettings()
        self._latches: dict[Key, Latch] = {}
        self._warnings: dict[Key, ActiveWarning] = {}
        self._said_at: dict[Key, float] = {}
        self._ticks = float("-inf")

    @property
    def warnings(self) -> tuple[ActiveWarning, ...]:
        """What holds now, the oldest first."""
        # To the second: the two clocks of a sample differ by a little, and lines should not change places.
        return tuple(
            sorted(self._warnings.values(), key=lambda each: (round(each.since), each.kind, each.gpu))
        )

    def use(self, settings: WarningSettings) -> None:
        """Judge by these from the next sample on; what has been idle for long stays so."""
        if settings != self._settings:
            self._settings = settings
            self._said_at.clear()

    @property
    def settings(self) -> WarningSettings:
        """By which it judges."""
        return self._settings

    def take(self, sample: Sample, owners: Owners) -> None:
        """Judge a sample; one that is not newer than the last changes nothing."""
        if sample.ticks <= self._ticks:
            return
        self._ticks = sample.ticks
        found = dict(conditions(sample, self._settings, owners))
        wanted = kinds_wanted(self._settings)
        for key in found:
            if key not in self._latches:
                self._latches[key] = Latch()
        for key, latch in self._latches.items():
            condition = found.get(key)
            if condition is None:
                latch.update(sample.ticks, None, None)
            else:
                latch.update(sample.ticks, condition.value, condition.rule)
            if not latch.raised or key[0] not in wanted:
                self._warnings.pop(key, None)
            elif condition is not None and condition.value is not None:
                self._say(key, latch, condition, sample)

    def _say(self, key: Key, latch: Latch, condition: Condition, sample: Sample) -> None:
        """Write the text anew, unless that was done a moment ago."""
        said_at = self._said_at.get(key, float("-inf"))
        if key in self._warnings and sample.ticks - said_at < NEW_TEXT_SECONDS:
            return
        seconds = sample.ticks - (latch.since if latch.since is not None else sample.ticks)
        self._said_at[key] = sample.ticks
        self._warnings[key] = ActiveWarning(*key, round(sample.time - seconds, 3), condition.text(seconds))


def kinds_wanted(settings: WarningSettings) -> frozenset[str]:
    switches = {
        "gpu_memory": settings.gpu_memory_percent is not None,
        "job_memory": settings.job_memory_percent is not None,
        "idle_gpu": settings.idle_minutes is not None,
        "throttling": settings.throttling,
    }
    return frozenset(kind for kind, wanted in switches.items() if wanted)


def conditions(sample: Sample, settings: WarningSettings, owners: Owners) -> Iterator[tuple[Key, Condition]]:
    """Yield what can be judged now; a GPU without figures, or another job's, yields nothing."""
    if sample.host.data is not None and settings.job_memory_percent is not None:
        yield ("job_memory", None), job_memory(sample.host.data, settings.job_memory_percent, settings.unit)
    for gpu in sample.gpus.data or ():
        if gpu.status != "ok" or (sample.my_gpus is not None and gpu.index not in sample.my_gpus):
            continue
        if settings.gpu_memory_percent is not None:
            yield (
                ("gpu_memory", gpu.index),
                gpu_memory(gpu, settings.gpu_memory_percent, settings.unit, owners),
            )
        if settings.idle_minutes is not None:
            yield ("idle_gpu", gpu.index), idle_gpu(gpu, settings.idle_minutes, settings.unit, owners)
        if settings.throttling:
            yield ("throttling", gpu.index), throttling(gpu)


def memory_rule(limit: float) -> Rule:
    margin = min(MEMORY_MARGIN, MEMORY_MARGIN_SHARE * limit)
    return Rule(limit, limit - margin, MEMORY_SECONDS, MEMORY_CLEAR_SECONDS)


def percent_of(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole


def job_memory(host: HostReading, limit: float, unit: str) -> Condition:
    percent = percent_of(host.memory_used_bytes, host.memory_limit_bytes)
    return Condition(
        percent, memory_rule(limit), lambda _: warning_text.job_memory(host, percent or 0, limit, unit)
    )


def fullest_instance(gpu: GpuReading) -> GpuReading:
    """Return a divided GPU as its fullest MIG instance: that is what runs out of memory, not the whole."""
    if not gpu.mig:
        return gpu
    full = max(gpu.mig, key=lambda one: percent_of(one.memory_used_bytes, one.memory_total_bytes) or 0)
    return replace(
        gpu, mig=[full], memory_used_bytes=full.memory_used_bytes, memory_total_bytes=full.memory_total_bytes,
        processes=full.processes,
    )  # fmt: skip


def gpu_memory(gpu: GpuReading, limit: float, unit: str, owners: Owners) -> Condition:
    gpu = fullest_instance(gpu)
    percent = percent_of(gpu.memory_used_bytes, gpu.memory_total_bytes)
    return Condition(
        percent, memory_rule(limit), lambda _: warning_text.gpu_memory(gpu, percent or 0, limit, unit, owners)
    )


def idle_gpu(gpu: GpuReading, minutes: float, unit: str, owners: Owners) -> Condition:
    """Idleness is what rises: 100 % less utilisation."""
    idle = None if gpu.utilization_percent is None else 100.0 - gpu.utilization_percent
    rule = Rule(100 - IDLE_PERCENT, 100 - BUSY_PERCENT, 60 * minutes, BUSY_SECONDS)
    return Condition(idle, rule, lambda seconds: warning_text.idle_gpu(gpu, seconds, minutes, unit, owners))


def throttling(gpu: GpuReading) -> Condition:
    reasons = gpu.throttle_reasons
    only_power = reasons == [warning_text.POWER_LIMIT]
    rule = Rule(1, 0, POWER_LIMITED_SECONDS if only_power else THROTTLED_SECONDS, THROTTLE_CLEAR_SECONDS)
    return Condition(
        None if reasons is None else float(bool(reasons)),
        rule,
        lambda seconds: warning_text.throttling(gpu, seconds),
    )
