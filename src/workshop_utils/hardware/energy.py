"""What a GPU has used, from its power: the driver's own counter costs 6 ms of CPU time a call (H200).

The power that NVML tells is the mean of the last second (Ampere and later), so that readings once a second
miss nothing. https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html, nvmlDeviceGetPowerUsage.
"""

# Without readings for longer, what was used in between is not known.
LONGEST_STEP_SECONDS = 10.0


class Energy:
    """Joules of one GPU since its first reading."""

    def __init__(self) -> None:
        self._joules = 0.0
        self._before: tuple[float, float] | None = None

    def add(self, watts: float, ticks: float) -> float:
        """Return the joules so far; ``ticks`` are seconds of a clock that never jumps."""
        if self._before is not None:
            seconds = ticks - self._before[1]
            if seconds <= LONGEST_STEP_SECONDS:
                self._joules += seconds * (watts + self._before[0]) / 2
        self._before = (watts, ticks)
        return self._joules
