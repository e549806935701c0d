"""Data parallel replicas: every prompt is answered once, in order, whatever a replica does."""

import signal
import subprocess
import sys
import time

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.data import PromptQueue, answer_all
from workshop_utils.parallel.prompt_service import PromptService

# A replica that answers a prompt with its double, and does to itself what its third argument says.
REPLICA = """
import os, signal, sys, time
from pathlib import Path
from workshop_utils.parallel.prompt_service import PromptClient
client = PromptClient(Path(sys.argv[1]), int(sys.argv[2]))
for round, prompts in enumerate(client.batches(2)):
    if sys.argv[3] == "killed" and round == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[3] == "hangs" and round == 1:
        time.sleep(60)
    time.sleep(0.3 if sys.argv[3] == "slow" else 0.02)
    client.answer({number: [2 * token for token in prompt] for number, prompt in prompts.items()})
"""
PROMPTS = [[number, number + 1] for number in range(21)]
EXPECTED = [[2 * token for token in prompt] for prompt in PROMPTS]


class Replicas:
    """Starts replicas as processes; remembers them, so that a test can end what hangs."""

    def __init__(self, *behaviours: str) -> None:
        self.behaviours, self.processes = behaviours, []  # type: tuple[str, ...], list[subprocess.Popen[bytes]]

    def __call__(self, number: int, service: PromptService) -> str | None:
        command = [sys.executable, "-c", REPLICA, str(service.folder), str(number), self.behaviours[number]]
        process = subprocess.Popen(command)
        self.processes.append(process)
        code = process.wait()
        return f"ended with {code}" if code else None


def test_answers_come_in_the_order_of_the_prompts() -> None:
    done = answer_all(PROMPTS, 2, Replicas("", ""))
    assert done.answers == EXPECTED
    assert sum(done.by.values()) == len(PROMPTS)
    assert not done.failures


def test_a_slow_replica_takes_fewer() -> None:
    done = answer_all(PROMPTS, 2, Replicas("", "slow"))
    assert done.answers == EXPECTED
    assert done.by[0] > done.by[1]


def test_a_killed_replica_loses_no_prompt_and_answers_none_twice() -> None:
    done = answer_all(PROMPTS, 2, Replicas("killed", "slow"))
    assert done.answers == EXPECTED
    assert done.failures == {0: f"ended with {-signal.SIGKILL}"}
    assert sum(done.by.values()) == len(PROMPTS)


def test_what_a_hanging_replica_has_taken_is_answered_by_others() -> None:
    replicas = Replicas("hangs", "")

    def end_when_answered(answered: int) -> None:
        if answered == len(PROMPTS):
            for process in replicas.processes:
                process.kill()

    started = time.monotonic()
    done = answer_all(PROMPTS, 2, replicas, patience_seconds=1, progress=end_when_answered)
    assert done.answers == EXPECTED
    assert time.monotonic() - started < 20


def test_when_all_replicas_fail_the_message_says_what_is_left_and_why() -> None:
    with pytest.raises(WorkshopError, match=r"prompts have no answer.*replica 0: ended with -9.*replica 1"):
        answer_all(PROMPTS, 2, Replicas("killed", "killed"))


def test_a_second_answer_changes_nothing() -> None:
    queue = PromptQueue([[1]], patience_seconds=0.01)
    assert queue.take(0, 1) == {0: [1]}
    time.sleep(0.05)
    assert queue.take(1, 1) == {0: [1]}  # taken back from the silent replica
    queue.answer(1, {0: [10]})
    queue.answer(0, {0: [99]})
    assert queue.answers() == [[10]]
    assert queue.answered_by == {0: 1}


def test_nobody_else_can_reach_the_queue() -> None:
    with PromptService(PromptQueue([[1]])) as service:
        assert service.folder.stat().st_mode & 0o077 == 0
        key = service.folder / "key"
        real = key.read_bytes()
        key.write_bytes(b"another key")
        stranger = subprocess.run(
            [sys.executable, "-c", REPLICA, str(service.folder), "0", ""], capture_output=True, timeout=30,
            text=True, check=False,
        )  # fmt: skip
        assert "AuthenticationError" in stranger.stderr
        key.write_bytes(real)
        # A stranger's attempt leaves the service as it was.
        known = subprocess.run(
            [sys.executable, "-c", REPLICA, str(service.folder), "0", ""], timeout=30, check=False
        )
        assert known.returncode == 0
    assert not service.folder.exists()
