"""Hysteresis: a warning that neither flickers at its limit nor comes for a moment's peak."""

from typing import NamedTuple

# After this long without a value nothing is known: what was raised is forgotten, what was near starts anew.
FORGET_SECONDS = 60.0


class Rule(NamedTuple):
    """Raised by a value at or over ``raise_at`` for ``raise_after_seconds``.

    Cleared by one at or under ``clear_at``, which is lower, for ``clear_after_seconds``.
    """

    raise_at: float
    clear_at: float
    raise_after_seconds: float
    clear_after_seconds: float


class Latch:
    """One condition over time. ``since`` is when it began (in ticks), None where it does not hold."""

    def __init__(self) -> None:
        self.raised = False
        self.since: float | None = None
        self._better_since: float | None = None
        self._known_at: float | None = None

    def update(self, ticks: float, value: float | None, rule: Rule | None) -> None:
        """Take the value at a moment; None, for a while, is neither better nor worse."""
        if self._known_at is not None and ticks - self._known_at > FORGET_SECONDS:
            self.raised, self.since, self._better_since = False, None, None
        if value is None or rule is None:
            return
        self._known_at = ticks
        if self.raised:
            self._clear(ticks, value, rule)
        else:
            self._raise(ticks, value, rule)

    def _raise(self, ticks: float, value: float, rule: Rule) -> None:
        if value < rule.raise_at:
            self.since = None
            return
        self.since = ticks if self.since is None else self.since
        self.raised = ticks - self.since >= rule.raise_after_seconds
        self._better_since = None

    def _clear(self, ticks: float, value: float, rule: Rule) -> None:
        if value > rule.clear_at:
            self._better_since = None
            return
        self._better_since = ticks if self._better_since is None else self._better_since
        if ticks - self._better_since >= rule.clear_after_seconds:
            self.raised, self.since = False, None
