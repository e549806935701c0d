"""A growing counter as a rate: what it grew by over the time that really passed, however late a tick was."""


class Rate:
    """The rate of one counter."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None

    def add(self, count: float, seconds: float) -> float | None:
        """Return the growth a second since the reading before; None at the first, or where it began anew."""
        before, self._before = self._before, (count, seconds)
        if before is None or seconds <= before[1] or count < before[0]:
            return None
        return (count - before[0]) / (seconds - before[1])
