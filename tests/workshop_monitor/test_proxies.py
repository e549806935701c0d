"""The panel's routes behind Apache and nginx, at the base URL that Open OnDemand gives a session."""

import json
from collections.abc import Iterator

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.workshop_monitor.proxies import PROXIES, missing, running_proxy
from tests.workshop_monitor.server import HEADERS, Server, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, {}, "workshop_monitor", on_demand=True) as running:
        yield running


@pytest.fixture(scope="module", params=PROXIES)
def portal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port at which the reader's browser finds everything."""
    if reason := missing(request.param):
        pytest.skip(reason)
    with running_proxy(request.param, tmp_path_factory.mktemp("proxy") / request.param) as port:
        yield f"127.0.0.1:{port}"


async def stream(portal: str, server: Server, **headers: str) -> WebSocketClientConnection:
    url = f"ws://{portal}{server.base_url}workshop-monitor/stream?hz=5"
    return await websocket_connect(HTTPRequest(url, headers={"Origin": f"http://{portal}", **headers}))


async def test_the_stream_comes_through(portal: str, server: Server) -> None:
    socket = await stream(portal, server, **HEADERS)
    kinds = [json.loads(await socket.read_message())["kind"] for _ in range(5)]
    socket.close()
    assert kinds[:2] == ["hello", "history"]
    assert kinds.count("sample") >= 2


async def test_snapshot_and_history_come_through(portal: str, server: Server) -> None:
    for route, kind in (("snapshot", "sample"), ("history?seconds=60", "history")):
        request = HTTPRequest(f"http://{portal}{server.base_url}workshop-monitor/{route}", headers=HEADERS)
        answer = json.loads((await AsyncHTTPClient().fetch(request)).body)
        assert answer["kind"] == kind


@pytest.mark.parametrize("key", [None, "token of-somebody-else"])
async def test_without_the_readers_key_nothing_is_upgraded(
    portal: str, server: Server, key: str | None
) -> None:
    with pytest.raises(HTTPClientError) as refused:
        await stream(portal, server, **({"Authorization": key} if key else {}))
    assert refused.value.code == 403


async def test_a_stream_whose_reader_is_gone_ends_behind_the_proxy_too(portal: str, server: Server) -> None:
    socket = await stream(portal, server, **HEADERS)
    await socket.read_message()
    assert socket.stream is not None
    socket.stream.close()
    # Another one is served as before.
    again = await stream(portal, server, **HEADERS)
    assert json.loads(await again.read_message())["kind"] == "hello"
    again.close()
