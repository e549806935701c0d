"""The two panels that ``bench_panel.py`` compares: where they listen, and what a message of theirs says."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.workshop_monitor.server import HEADERS, Server


@dataclass(frozen=True)
class Peer:
    """``gpus``, ``host`` and ``nvlink`` are paths of websockets, for ours one and the same.

    ``cpu_percent`` and ``nvlink_gb_per_s`` read the machine's CPU use and GPU 0's NVLink receive rate from a
    message; None where it does not hold one.
    """

    name: str
    extension: str
    gpus: str
    host: str
    nvlink: str
    asks: Callable[[float], str] | None
    cpu_percent: Callable[[Any], float | None]
    nvlink_gb_per_s: Callable[[Any], float | None]

    async def open(self, server: Server, path: str, hz: float) -> WebSocketClientConnection:
        """Return a websocket that sends ``hz`` messages a second."""
        url = f"ws://127.0.0.1:{server.port}/{path.format(hz=hz)}"
        socket = await websocket_connect(HTTPRequest(url, headers=HEADERS))
        if self.asks:
            await socket.write_message(self.asks(hz))
        return socket


def our_cpu_percent(message: Any) -> float | None:
    host = message["host"]["data"] if message.get("kind") == "sample" else None
    return host and host["machine_cpu_percent"]


def our_nvlink(message: Any) -> float | None:
    gpus = message["gpus"]["data"] if message.get("kind") == "sample" else None
    rate = gpus and gpus[0]["nvlink_rx_bytes_per_s"]
    return rate and rate / 1e9


def their_nvlink(message: Any) -> float | None:
    return message["nvlink_rx"][0] / 1e9 if message.get("nvlink_rx", [0])[0] else None


STREAM = "workshop-monitor/stream?hz={hz}"
OURS = Peer("workshop monitor", "workshop_monitor", STREAM, STREAM, STREAM, None, our_cpu_percent, our_nvlink)
FLOOR = Peer("bare tornado", "", "", "", "", None, lambda message: None, lambda message: None)
THEIRS = Peer(
    "nvdashboard",
    "jupyterlab_nvdashboard",
    "nvdashboard/gpu_utilization",
    "nvdashboard/cpu_resource",
    "nvdashboard/nvlink_throughput",
    lambda hz: json.dumps({"updateFrequency": 1000 / hz, "isPaused": False}),
    lambda message: message.get("cpu_utilization"),
    their_nvlink,
)
