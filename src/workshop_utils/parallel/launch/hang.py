"""A run from which nothing comes any more: who waits for whom, and where the others stand."""

import os
import re
import signal
import time
from collections.abc import Sequence, Set
from pathlib import Path

from workshop_utils.parallel.launch.rank_state import RankState
from workshop_utils.parallel.launch.run_folder import RunFolder

# A process answers the signal within milliseconds, unless it is stopped or in the kernel.
ANSWER_SECONDS = 0.3


def describe_hang(
    ranks: Sequence[RankState], silent_seconds: float, living: Set[int], folder: RunFolder, script: Path
) -> str:
    """Return one sentence on a hang and one of advice. Asks the ranks where they stand; ends none.

    ``living`` are the ids of the processes that are left of the run.
    """
    asked = [rank for rank in ranks if rank.pid in living and not rank.ended]
    lines = _where_they_stand(asked, folder, script)
    now = time.monotonic()
    collectives: dict[str, list[RankState]] = {}
    for rank in asked:
        if rank.collective is not None:
            collectives.setdefault(rank.collective, []).append(rank)
    others = [rank for rank in ranks if rank not in asked or rank.collective is None]
    parts = [_waiters(name, waiters, now) for name, waiters in collectives.items()]
    for rank in others:
        state = _standing(rank, lines.get(rank.number), now) if rank in asked else _absent(rank)
        parts.append(f"rank {rank.number} {state}")
    told, advice = "; ".join(parts), _advice(collectives, others)
    return f"No rank said anything for {silent_seconds:g} s (--timeout): {told}. {advice}"


def _waiters(name: str, waiters: Sequence[RankState], now: float) -> str:
    since = max(now - rank.collective_since for rank in waiters)
    numbers = ", ".join(str(rank.number) for rank in waiters)
    subject = f"rank {numbers} has" if len(waiters) == 1 else f"ranks {numbers} have"
    return f"{subject} waited in {name} for {since:.0f} s"


def _absent(rank: RankState) -> str:
    return "has not started" if rank.pid is None else "has ended"


def _standing(rank: RankState, line: int | None, now: float) -> str:
    said = f"last said {rank.words} {now - rank.words_at:.0f} s ago" if rank.words else "has said nothing"
    return said + (f" and stands in line {line} of the script" if line else "")


def _advice(collectives: dict[str, list[RankState]], others: Sequence[RankState]) -> str:
    if len(collectives) > 1:
        return "All ranks must call the same collectives in the same order: see where they part."
    if collectives and others:
        missing = ", ".join(str(rank.number) for rank in others)
        return f"A collective ends when every rank has called it: see why rank {missing} does not."
    if collectives:
        return "All ranks are there, so it is their communication that hangs: see what the logs say of it."
    return "If the ranks are only slow, let them call notes.progress or heartbeat, or raise --timeout."


def _where_they_stand(ranks: Sequence[RankState], folder: RunFolder, script: Path) -> dict[int, int]:
    """Return the line of the script that each rank is in, of those that answer (see rank.py)."""
    for rank in ranks:
        if rank.pid is not None:
            try:
                os.kill(rank.pid, signal.SIGUSR1)
            except ProcessLookupError:  # it has ended just now
                continue
    time.sleep(ANSWER_SECONDS)
    lines = {}
    for rank in ranks:
        try:
            stack = folder.stack(rank.number).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # Innermost call first.
        if found := re.search(rf'File "{re.escape(str(script))}", line (\d+)', stack):
            lines[rank.number] = int(found[1])
    return lines
