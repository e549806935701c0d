"""A real ``jupyter server`` in a process of its own, with nothing of the reader's configuration."""

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

TOKEN = "for-this-test-only"
HEADERS = {"Authorization": f"token {TOKEN}"}


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    base_url: str = "/"

    async def get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.port}{self.base_url}{path}"
        request = HTTPRequest(url, headers=HEADERS, request_timeout=30)
        return json.loads((await AsyncHTTPClient(max_clients=100).fetch(request)).body)

    async def stream(self, hz: float) -> WebSocketClientConnection:
        url = f"ws://127.0.0.1:{self.port}{self.base_url}workshop-monitor/stream?hz={hz}"
        return await websocket_connect(HTTPRequest(url, headers=HEADERS))

    async def status_p50_ms(self, requests: int) -> float:
        """Return the median time of ``/api/status``, asked once every 20 ms."""
        times = []
        for _ in range(requests):
            start = time.perf_counter()
            await self.get("api/status")
            times.append(1000 * (time.perf_counter() - start))
            await asyncio.sleep(0.02)
        return statistics.median(times)


@contextlib.contextmanager
def running_server(
    folder: Path, environment: dict[str, str], *extensions: str, on_demand: bool = False
) -> Iterator[Server]:
    """Start the server with these extensions only, wait until it listens, and end it.

    ``on_demand``: as Open OnDemand configures it, with host and port in its base URL, for any origin.
    """
    folder.mkdir(parents=True, exist_ok=True)
    runtime = folder / "runtime"
    own = {"HOME": folder, "JUPYTER_CONFIG_DIR": folder / "config", "JUPYTER_RUNTIME_DIR": runtime}
    own |= {"JUPYTER_DATA_DIR": folder / "data", "JUPYTER_NO_CONFIG": 1}
    enabled = {name: True for name in extensions}
    # Without it only warnings of other packages than Jupyter's own reach the log.
    logging_config = {"loggers": {"workshop_utils": {"level": "INFO", "handlers": ["console"]}}}
    port = free_port()
    base_url = f"/node/127.0.0.1/{port}/" if on_demand else "/"
    command = [
        sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={port}",
        "--ip=127.0.0.1", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.jpserver_extensions={enabled}", f"--ServerApp.logging_config={logging_config}",
        f"--ServerApp.base_url={base_url}",
    ]  # fmt: skip
    if on_demand:
        command += ["--ServerApp.port_retries=0", "--ServerApp.allow_origin=*"]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | environment | {name: str(value) for name, value in own.items()},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(process, wait_for_port(process, runtime, log), log, base_url)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> int:
    """Return the port that the server says it took (ours may be taken by then), once it listens."""
    info = runtime / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            port = int(json.loads(info.read_text(encoding="utf-8"))["port"])
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return port
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text(encoding='utf-8')}")
