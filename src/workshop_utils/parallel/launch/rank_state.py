"""What the launcher knows of one rank, from its notes and what it prints."""

import json
import time
from typing import Any

from workshop_utils.parallel.launch.run_folder import RunFolder
from workshop_utils.parallel.launch.tail import Tail

# They only say where a rank is at the moment; all other notes are handed back.
PASSING = ("done", "heartbeat", "waiting", "left", "pid", "ended")
QUOTED_CHARACTERS = 80


class RankState:
    """One rank as far as it has told. Times are ``time.monotonic()``, those in notes since the epoch.

    ``words`` is what it last said, as a reader would quote it; ``sign_at`` is when anything came from it, a
    step of a progress bar too; ``collective`` is where it waits, else None.
    """

    def __init__(self, number: int, folder: RunFolder) -> None:
        self.number = number
        self.notes: list[dict[str, Any]] = []
        self.memory: dict[str, int] = {}
        self.error: dict[str, Any] | None = None
        self.pid: int | None = None
        self.ended = False
        self.words: str | None = None
        self.words_at = self.sign_at = time.monotonic()
        self.collective: str | None = None
        self.collective_since = 0.0
        self.last_line: str | None = None
        self._log = Tail(folder.log(number))
        self._notes = Tail(folder.notes(number))

    def read(self, everything: bool = False) -> tuple[list[str], dict[str, Any] | None]:
        """Take in what has come; return the printed lines and the latest progress, None without any.

        ``everything``: the rank has ended, so that an unfinished line is a line, too. An unfinished note is
        never one: the process was killed before it had said it.
        """
        latest, before = None, self._log.position + self._notes.position
        for line in self._notes.lines():
            row = _parsed(line)
            if row is not None:
                self._learn(row)
                latest = row if "done" in row and "of" in row else latest
        lines = self._log.rest() if everything else self._log.lines()
        if printed := [line for line in lines if line.strip()]:
            self.last_line = printed[-1].strip()
            self._say(f"“{self.last_line[:QUOTED_CHARACTERS]}”")
        if self._log.position + self._notes.position > before:
            self.sign_at = time.monotonic()
        return lines, latest

    def _learn(self, row: dict[str, Any]) -> None:
        now = time.monotonic()
        match row:
            case {"waiting": collective}:
                self.collective, self.collective_since = str(collective), now
            case {"left": _}:
                self.collective = None
            case {"pid": int(pid)}:
                self.pid = pid
            case {"ended": _}:
                self.ended = True
            case {"error": dict(error)}:
                self.error = {**error, "time": row.get("time", 0.0)}
            case {"memory": dict(sizes)}:
                self.memory |= {name: size for name, size in sizes.items() if isinstance(size, int)}
            case {"stage": stage, "done": done, "of": of}:
                self._say(f"{stage or 'progress'}: {done} of {of}")
            case {"stage": stage}:
                self._say(f"stage {stage}")
        if not any(name in row for name in PASSING):
            self.notes.append(row)

    def _say(self, words: str) -> None:
        self.words, self.words_at = words, time.monotonic()


def _parsed(line: str) -> dict[str, Any] | None:
    """Return the note of a line; None for a line that is none, as a script may write there itself."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
