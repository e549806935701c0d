"""Real servers in real environments, with homes of their own."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import ROOT, Server

SECONDS_TO_START = 60


def wait_for(server: Server, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            server.get("api/status")
            return
        time.sleep(0.2)
    pytest.fail(f"the server did not answer:\n{server.log.read_text(errors='replace')}")


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Start a server's command, wait until it answers, and end it after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], environment: dict[str, str], url: str, token: str, log: Path) -> Server:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, cwd=environment["HOME"], stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        running.append(process)
        server = Server(url, token, log)
        wait_for(server, process)
        return server

    yield start
    for process in running:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="workshop-install-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def checkout(open_folder: Path) -> Path:
    """A copy of this working tree with its built panel, so that no other test sees the build."""
    target = open_folder / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    names = [name for name in os.fsdecode(listed).split("\0") if name and (ROOT / name).is_file()]
    panel = "jupyter_extension/workshop_monitor/labextension"
    names += [path.relative_to(ROOT).as_posix() for path in (ROOT / panel).rglob("*") if path.is_file()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target
