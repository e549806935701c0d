"""How replicas, which are processes of their own, reach the queue of prompts: a Unix socket with a key.

Nothing listens on the network. Socket and key lie in a folder that only its owner may enter, and who connects
must prove to have the key. What is sent is JSON, never pickled objects.
"""

import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Protocol

# A Unix socket's path holds about a hundred characters; a cluster's TMPDIR may be longer.
LONGEST_PATH = 90


class Queue(Protocol):
    """What the service gives access to."""

    def take(self, replica: int, count: int) -> dict[int, Sequence[int]]: ...

    def answer(self, replica: int, answers: dict[int, list[int]]) -> None: ...

    def lost(self, replica: int) -> list[int]: ...


class PromptService:
    """Serves a queue while its ``with`` block runs; ``folder`` is what a replica needs to know."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        folder = tempfile.mkdtemp(prefix="workshop-prompts-")
        if len(folder) > LONGEST_PATH:
            shutil.rmtree(folder)
            folder = tempfile.mkdtemp(prefix="workshop-prompts-", dir="/tmp")
        self.folder = Path(folder)
        key = secrets.token_bytes(32)
        (self.folder / "key").write_bytes(key)
        self._listener = Listener(str(self.folder / "queue"), family="AF_UNIX", authkey=key)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "PromptService":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _accept(self) -> None:
        from multiprocessing import AuthenticationError

        while True:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, ConnectionError):
                continue
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        """Answer one replica until it hangs up; what it then has not answered goes back."""
        replica = -1
        with connection, suppress(EOFError, ConnectionError, OSError):
            while True:
                asked = json.loads(connection.recv_bytes())
                replica = asked["replica"]
                if asked["answers"]:
                    self._queue.answer(replica, {int(n): tokens for n, tokens in asked["answers"].items()})
                taken = self._queue.take(replica, asked["count"]) if asked["count"] else {}
                connection.send_bytes(json.dumps(taken, default=list).encode())
        self._queue.lost(replica)


class PromptClient:
    """A replica's side: ``for prompts in client.batches(4): … client.answer({number: tokens})``."""

    def __init__(self, folder: Path, replica: int) -> None:
        self._replica = replica
        key = (folder / "key").read_bytes()
        self._connection: Any = Client(str(folder / "queue"), family="AF_UNIX", authkey=key)

    def batches(self, count: int) -> Iterator[dict[int, list[int]]]:
        """Yield up to ``count`` prompts by number, until all have their answers."""
        while taken := self._ask(count, {}):
            yield taken

    def answer(self, answers: dict[int, list[int]]) -> None:
        """Hand in the tokens of prompts, by number."""
        self._ask(0, answers)

    def _ask(self, count: int, answers: dict[int, list[int]]) -> dict[int, list[int]]:
        request = {"replica": self._replica, "count": count, "answers": answers}
        self._connection.send_bytes(json.dumps(request).encode())
        return {int(number): prompt for number, prompt in json.loads(self._connection.recv_bytes()).items()}
