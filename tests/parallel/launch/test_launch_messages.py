"""What the launcher says of ranks that fail or hang: from notes and exit codes made by hand, no ranks."""

import json
import os
import time
from pathlib import Path

import pytest

from workshop_utils.parallel.launch.diagnosis import diagnose
from workshop_utils.parallel.launch.hang import describe_hang
from workshop_utils.parallel.launch.rank_state import RankState
from workshop_utils.parallel.launch.run_folder import RunFolder

# When torchrun saw the first rank fail, in the tests' own time.
FAULT = 1000.4


def ranks_of(folder: RunFolder, *rows: list[dict]) -> list[RankState]:
    """Return ranks that have noted these rows."""
    ranks = []
    for number, noted in enumerate(rows):
        text = "".join(json.dumps({"time": FAULT, **row}) + "\n" for row in noted)
        folder.notes(number).write_text(text, encoding="utf-8")
        ranks.append(RankState(number, folder))
        ranks[-1].read(everything=True)
    return ranks


def failures(folder: RunFolder, *rows: tuple[int, int, float]) -> None:
    """Note rank, exit code and time as the agent does; torchrun gives whole seconds."""
    told = [{"rank": rank, "exit_code": code, "time": int(at)} for rank, code, at in rows]
    folder.failures.write_text(json.dumps({"ended_others_at": FAULT, "failures": told}), encoding="utf-8")


def error(message: str, **row: object) -> dict:
    return {"error": {"message": message, "line": None, "out_of_memory": False}, **row}


LOST = error("RuntimeError: Connection closed by peer [127.0.0.1]:1", time=FAULT - 0.05)


@pytest.mark.parametrize(
    ("notes", "ends", "expected"),
    [
        # A rank that was killed left no note; the other lost its connection before torchrun looked.
        ([[LOST], []], [(0, 1, FAULT), (1, -9, FAULT)], "Rank 1 was ended by SIGKILL."),
        # torchrun itself killed rank 0, which minded no SIGTERM, three seconds later.
        ([[], [error("ValueError: x")]], [(1, 1, FAULT), (0, -9, FAULT + 3)], "Rank 1 raised ValueError: x."),
        # The earlier of two errors, whatever the order of the ranks.
        (
            [[error("KeyError: b", time=FAULT - 0.1)], [error("KeyError: a", time=FAULT - 0.2)]],
            [(0, 1, FAULT), (1, 1, FAULT)],
            "Rank 1 raised KeyError: a.",
        ),
        # A script that raises when it is ended is no cause; nor is what lost its connection.
        (
            [[error("SystemExit: 143", time=FAULT + 0.2)], [], [LOST]],
            [(1, 3, FAULT), (0, 143, FAULT), (2, 1, FAULT)],
            "Rank 1 ended with code 3 and no error of Python; it printed nothing.",
        ),
        # An abort of NCCL follows another rank's error; alone it is the cause.
        ([[], [error("ValueError: x")]], [(0, -6, FAULT), (1, 1, FAULT)], "Rank 1 raised ValueError: x."),
        ([[LOST], []], [(0, 1, FAULT), (1, -6, FAULT)], "Rank 1 was ended by SIGABRT."),
        ([[], []], [(1, -40, FAULT), (0, -15, FAULT)], "Rank 1 was ended by signal 40."),
        # torchrun ended rank 1 while it printed its error.
        ([[], [error("ValueError: x")]], [(0, 0, FAULT), (1, -15, FAULT)], "Rank 1 raised ValueError: x."),
    ],
)  # fmt: skip
def test_the_cause_is_told_and_not_what_followed(
    tmp_path: Path, notes: list[list[dict]], ends: list[tuple[int, int, float]], expected: str
) -> None:
    folder = RunFolder(tmp_path)
    failures(folder, *ends)
    _, message = diagnose(ranks_of(folder, *notes), folder, 1)
    assert message.startswith(f"{expected} All other ranks were ended. ")
    assert message.endswith(f" The full log is {folder.log(1)}.")


def test_a_rank_that_ends_itself_is_told_with_its_last_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log(0).write_text("one\nthe model is missing\n\n", encoding="utf-8")
    failures(folder, (0, 7, FAULT))
    outcome, message = diagnose(ranks_of(folder, []), folder, 1)
    assert outcome == "failed"
    assert message.startswith(
        "Rank 0 ended with code 7 and no error of Python; its last line: the model is missing. Look for"
    )


def test_torchrun_that_cannot_start_is_told_with_its_last_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.agent_log.write_text("Traceback\nModuleNotFoundError: No module named 'torch'\n", encoding="utf-8")
    outcome, message = diagnose(ranks_of(folder, [], []), folder, 1)
    assert outcome == "failed"
    assert message.startswith(
        "torchrun could not run the ranks: ModuleNotFoundError: No module named 'torch'. "
    )


WAITS, ELSEWHERE = {"waiting": "all_reduce"}, {"waiting": "barrier"}
BEGUN = {"pid": 0}


@pytest.mark.parametrize(
    ("notes", "living", "told", "advice"),
    [
        ([[BEGUN, WAITS], [BEGUN], [BEGUN, WAITS]], 3,
         "ranks 0, 2 have waited in all_reduce for 12 s; rank 1 has said nothing",
         "see why rank 1 does not."),
        ([[BEGUN, WAITS], [BEGUN, {"ended": True}]], 2,
         "rank 0 has waited in all_reduce for 12 s; rank 1 has ended", "see why rank 1 does not."),
        ([[BEGUN, WAITS], [BEGUN, WAITS]], 1,
         "rank 0 has waited in all_reduce for 12 s; rank 1 has ended", "see why rank 1 does not."),
        ([[BEGUN, WAITS], []], 2,
         "rank 0 has waited in all_reduce for 12 s; rank 1 has not started", "see why rank 1 does not."),
        ([[BEGUN, WAITS], [BEGUN, ELSEWHERE]], 2,
         "rank 0 has waited in all_reduce for 12 s; rank 1 has waited in barrier for 12 s",
         "see where they part."),
        ([[BEGUN, WAITS], [BEGUN, WAITS]], 2,
         "ranks 0, 1 have waited in all_reduce for 12 s", "see what the logs say of it."),
        ([[BEGUN, {"stage": "load"}], [BEGUN, WAITS, {"left": "all_reduce"}]], 2,
         "rank 0 last said stage load 12 s ago; rank 1 has said nothing", "or raise --timeout."),
    ],
)  # fmt: skip
def test_a_hang_says_who_waits_for_whom(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    notes: list[list[dict]],
    living: int,
    told: str,
    advice: str,
) -> None:
    folder = RunFolder(tmp_path)
    monkeypatch.setattr(os, "kill", lambda *_: None)
    ranks = ranks_of(folder, *notes)
    past = time.monotonic() - 12
    for rank in ranks:
        rank.words_at = rank.collective_since = past
        rank.pid = None if rank.pid is None else 100 + rank.number
    alive = {100 + number for number in range(living)}
    message = describe_hang(ranks, 10, alive, folder, tmp_path / "script.py")
    assert message.startswith(f"No rank said anything for 10 s (--timeout): {told}. ")
    assert message.endswith(advice)
