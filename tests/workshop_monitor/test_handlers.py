"""The three routes inside a Jupyter server: who may, what comes, and what bad input gets."""

import asyncio
import contextlib
import json
import logging
import threading
import time

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketClosedError
from workshop_monitor import attribution
from workshop_monitor.handlers import LONGEST_MESSAGE_BYTES, PING_SECONDS, SETTING
from workshop_monitor.kernels import kernel_processes

from tests.monitor.other_nodes import found
from workshop_utils.hardware.reading import GpuProcess, GpuReading, Reading
from workshop_utils.measure.recording import machine
from workshop_utils.monitor.nodes_file import nodes_file, write_nodes
from workshop_utils.monitor.owners import Owner
from workshop_utils.monitor.plan import PlannedTerm, write_plan
from workshop_utils.monitor.sampler import Sampler

BASE_URL = "/node/host1/8888/"


class Gpus:
    """One GPU that is as busy as it was read often."""

    reads = 0
    processes = None

    def read(self):
        self.reads += 1
        busy, running = self.reads % 101, self.processes
        return Reading.of(
            (GpuReading(0, "GPU-1", "NVIDIA H200", utilization_percent=busy, processes=running),)
        )

    def close(self):
        pass


class Host:
    def read(self):
        return Reading.missing("no psutil here.")

    def close(self):
        pass


@pytest.fixture
def jp_base_url():
    return BASE_URL


@pytest.fixture
def jp_server_config():
    """As Open OnDemand configures Jupyter: any origin, no XSRF check, a base URL behind its proxy."""
    return {
        "ServerApp": {
            "jpserver_extensions": {"workshop_monitor": True},
            "base_url": BASE_URL,
            "allow_origin": "*",
            "disable_check_xsrf": True,
            "allow_unauthenticated_access": False,
        }
    }


@pytest.fixture
def broadcast(jp_serverapp):
    found = jp_serverapp.web_app.settings[SETTING]
    found.sampler = Sampler(Gpus(), Host())
    yield found
    found.sampler.stop()


@pytest.fixture
def fetch(jp_fetch, broadcast):
    async def get(*parts, **options):
        return await jp_fetch("workshop-monitor", *parts, **options)

    return get


@pytest.fixture
def connect(jp_ws_fetch, broadcast):
    async def open_stream(**options):
        return await jp_ws_fetch("workshop-monitor", "stream", **options)

    return open_stream


async def read_frames(socket, count):
    return [json.loads(await asyncio.wait_for(socket.read_message(), 5)) for _ in range(count)]


async def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


async def status_of(fetching):
    with pytest.raises(HTTPClientError) as refused:
        await fetching
    return refused.value.code, refused.value.response


async def test_stream_greets_catches_up_and_samples_at_the_rate(connect, broadcast):
    broadcast.sampler.latest()
    socket = await connect(params={"hz": "10"})
    hello, history, *samples = await read_frames(socket, 12)
    assert hello.pop("machine") == machine()
    assert hello == {
        "version": 1,
        "kind": "hello",
        "hz": 10.0,
        "hz_range": [0.2, 10.0],
        "history_seconds": 600,
        "note": None,
    }
    assert (history["version"], history["kind"], len(history["samples"])) == (1, "history", 1)
    assert {frame["kind"] for frame in samples} == {"sample"}
    figures = [frame["gpus"]["data"][0]["utilization_percent"] for frame in samples]
    assert figures == sorted(set(figures))
    assert 0.8 < samples[-1]["time"] - samples[0]["time"] < 3.0  # nine tenths on an idle machine
    assert samples[0]["host"] == {"status": "unavailable", "error": "no psutil here.", "data": None}
    socket.close()


async def test_owners_of_programs_come_before_the_sample_that_follows(connect, broadcast, monkeypatch):
    found = (Owner(77, "python3", "07.ipynb"), Owner(78, None, None))
    monkeypatch.setattr(attribution, "owners_of", lambda pids, kernels: found if pids else ())
    gpus = Gpus()
    gpus.processes = [GpuProcess(77, 5000), GpuProcess(78, None)]
    broadcast.sampler.stop()
    broadcast.sampler = Sampler(gpus, Host())
    socket = await connect(params={"hz": "10"})
    frames = await read_frames(socket, 12)
    (owners,) = [frame for frame in frames if frame["kind"] == "owners"]  # once, as nothing changed
    assert owners == {
        "version": 1,
        "kind": "owners",
        "owners": [
            {"pid": 77, "command": "python3", "notebook": "07.ipynb"},
            {"pid": 78, "command": None, "notebook": None},
        ],
    }
    second = await connect(params={"hz": "10"})
    assert "owners" in {frame["kind"] for frame in await read_frames(second, 6)}
    gpus.processes = []
    frames = await read_frames(socket, 12)
    assert [frame["owners"] for frame in frames if frame["kind"] == "owners"] == [[]]
    for each in (socket, second):
        each.close()


async def test_kernels_are_known_by_their_notebooks(jp_serverapp, jp_fetch, jp_root_dir):
    body = {"path": "lab/05 stages.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    answer = await jp_fetch("api", "sessions", method="POST", body=json.dumps(body))
    session = json.loads(answer.body)
    found = await kernel_processes(jp_serverapp.web_app.settings)
    await jp_fetch("api", "sessions", session["id"], method="DELETE")
    ((pid, name),) = found.items()
    assert name == "05 stages.ipynb"
    assert pid > 1
    assert await kernel_processes({}) == {}


async def test_default_rate_is_one_a_second(connect):
    socket = await connect()
    hello, *_ = await read_frames(socket, 2)
    assert (hello["hz"], hello["note"]) == (1.0, None)


@pytest.mark.parametrize(("asked", "runs_at"), [("50", 10.0), ("0", 0.2), ("-3", 0.2), ("1e9", 10.0)])
async def test_rate_out_of_range_is_clamped_and_says_so(connect, asked, runs_at):
    socket = await connect(params={"hz": asked})
    (hello,) = await read_frames(socket, 1)
    assert hello["hz"] == runs_at
    assert "outside 0.2 to 10" in hello["note"]


@pytest.mark.parametrize("asked", ["abc", "nan", "inf", "", "1" * 5000])
async def test_rate_that_is_no_number_is_400_before_the_upgrade(connect, broadcast, asked):
    code, response = await status_of(connect(params={"hz": asked}))
    assert code == 400
    message = json.loads(response.body)["message"] if response.body else ""
    assert len(message) < 200
    assert broadcast._clients == {}


async def test_refusal_names_the_value_and_the_range(fetch):
    code, response = await status_of(fetch("history", params={"seconds": "<b>%s"}))
    assert code == 400
    assert response.headers["Content-Type"].startswith("application/json")
    message = json.loads(response.body)["message"]
    assert message == (
        "seconds='<b>%s' is not a number: give a number above 0, at most 600 seconds, for example seconds=60."
    )


@pytest.mark.parametrize("seconds", ["0", "-5", "nan", "inf", "ten"])
async def test_history_refuses_what_is_no_length_of_time(fetch, seconds):
    assert (await status_of(fetch("history", params={"seconds": seconds})))[0] == 400


async def test_snapshot_and_history_answer_in_frames(fetch):
    sample = json.loads((await fetch("snapshot")).body)
    assert (sample["kind"], sample["version"]) == ("sample", 1)
    for seconds in ("600", "99999", "0.5"):
        answer = await fetch("history", params={"seconds": seconds})
        assert answer.headers["Content-Type"].startswith("application/json")
        history = json.loads(answer.body)
        assert history["kind"] == "history"
        assert history["samples"] == [sample]


async def test_snapshot_without_a_sample_is_a_sentence(fetch, broadcast):
    broadcast.sampler.stop()
    code, response = await status_of(fetch("snapshot"))
    assert code == 503
    assert "ask again" in json.loads(response.body)["message"]


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "token wrong"}])
@pytest.mark.parametrize("route", ["snapshot", "history", "stream"])
async def test_nothing_without_a_token(fetch, broadcast, route, headers):
    assert (await status_of(fetch(route, headers=headers)))[0] == 403
    assert broadcast.sampler._gpus.reads == 0


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "token wrong"}])
async def test_websocket_without_a_token_is_403_and_never_upgraded(connect, broadcast, headers):
    assert (await status_of(connect(headers=headers)))[0] == 403
    assert broadcast._clients == {}


@pytest.mark.parametrize("route", ["stream", "snapshot", "history"])
async def test_user_without_the_permission_is_refused(route, connect, fetch, jp_serverapp, monkeypatch):
    asked = []

    def refuse(handler, user, action, resource):
        asked.append((action, resource))
        return False

    monkeypatch.setattr(jp_serverapp.authorizer, "is_authorized", refuse)
    assert (await status_of(connect() if route == "stream" else fetch(route)))[0] == 403
    assert asked == [("read", "workshop_monitor")]


@pytest.mark.parametrize("size", [LONGEST_MESSAGE_BYTES + 1, 10_000_000])
async def test_messages_are_ignored_and_long_ones_close_the_socket(size, connect, fetch, broadcast, caplog):
    socket, other = [await connect(params={"hz": "10"}) for _ in range(2)]
    await read_frames(socket, 2)
    for message in ("{}", "text", '{"hz": 1e99}', "[" * 1000, "\x00"):
        await socket.write_message(message)
    await socket.write_message(b"\xff\xfe", binary=True)
    assert (await read_frames(socket, 3))[-1]["kind"] == "sample"
    with caplog.at_level(logging.WARNING):
        with contextlib.suppress(WebSocketClosedError):
            await socket.write_message("x" * size)
        async with asyncio.timeout(10):
            while await socket.read_message() is not None:
                pass  # what was on its way
        assert socket.close_code == 1009
        await until(lambda: len(broadcast._clients) == 1)
        assert (await read_frames(other, 20))[-1]["kind"] == "sample"
        assert json.loads((await fetch("snapshot")).body)["kind"] == "sample"
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_of_two_clients_the_last_settings_count_for_both(connect, broadcast, monkeypatch):
    idle = Reading.of((GpuReading(0, "GPU-1", "NVIDIA H200", utilization_percent=0, processes=[]),))
    monkeypatch.setattr(broadcast.sampler._gpus, "read", lambda: idle)

    async def warned(socket):
        """Wait for the next frame of warnings and return their kinds."""
        while True:
            (frame,) = await read_frames(socket, 1)
            if frame["kind"] == "warnings":
                return [warning["kind"] for warning in frame["warnings"]]

    first = await connect(params={"hz": "10", "idle_minutes": "0.01"})
    assert await asyncio.wait_for(warned(first), 10) == ["idle_gpu"]
    second = await connect(params={"hz": "10", "idle_minutes": "0"})
    assert await asyncio.wait_for(warned(first), 10) == []
    third = await connect(params={"hz": "10", "idle_minutes": "0.01"})
    for socket in (first, second, third):
        while await asyncio.wait_for(warned(socket), 10) != ["idle_gpu"]:
            pass  # the second and third were told of what held when they came


async def test_client_that_goes_is_forgotten(connect, broadcast):
    socket = await connect()
    await read_frames(socket, 2)
    assert len(broadcast.sampler._subscriptions) == 2  # its own, and that of the warnings
    socket.close()
    await until(lambda: not broadcast._clients and not broadcast.sampler._subscriptions)


async def test_twenty_clients_share_one_thread_and_the_same_samples(connect, broadcast):
    sockets = [await connect(params={"hz": "10"}) for _ in range(20)]
    heard = [await read_frames(socket, 8) for socket in sockets]
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("workshop-sampler") == names.count("workshop-driver") == 1
    last = {json.dumps(sample) for frames in heard for sample in frames[-1:]}
    assert len(last) < 20
    assert broadcast.sampler._gpus.reads < 60


async def test_client_that_does_not_read_is_left_out_and_holds_up_nobody(connect, broadcast):
    socket = await connect(params={"hz": "10"})
    await read_frames(socket, 2)
    (handler,) = broadcast._clients
    handler._last_write = asyncio.get_running_loop().create_future()  # a frame that never leaves
    other = await connect(params={"hz": "10"})
    assert len(await read_frames(other, 7)) == 7
    with pytest.raises(asyncio.TimeoutError):
        for _ in range(5):  # what was on its way before
            await asyncio.wait_for(socket.read_message(), 0.5)
    newest = broadcast.sampler.latest(0).time
    handler._last_write.set_result(None)
    (frame,) = await read_frames(socket, 1)
    assert frame["time"] >= round(newest, 3)  # not what it missed


async def test_no_thread_is_left_when_the_server_shuts_down(connect, jp_serverapp):
    await read_frames(await connect(), 3)
    ours = {"workshop-sampler", "workshop-driver"}
    assert ours <= {thread.name for thread in threading.enumerate()}
    await jp_serverapp.cleanup_extensions()
    assert not ours & {thread.name for thread in threading.enumerate()}


async def test_idle_proxy_is_kept_open_by_a_ping(connect, broadcast):
    await read_frames(await connect(), 2)
    (handler,) = broadcast._clients
    assert handler.ws_connection.ping_interval == PING_SECONDS < 60
    assert handler.ws_connection.ping_timeout == PING_SECONDS


async def test_requests_that_wait_share_one_thread(broadcast, monkeypatch):
    sample, calls = object(), []

    def slow_latest(wait_seconds=5.0):
        if wait_seconds == 0:
            return None
        calls.append(threading.get_ident())
        time.sleep(0.2)
        return sample

    monkeypatch.setattr(broadcast.sampler, "latest", slow_latest)
    waiting = [asyncio.create_task(broadcast.latest()) for _ in range(60)]
    await asyncio.sleep(0.05)
    waiting.pop().cancel()
    assert await asyncio.gather(*waiting) == [sample] * 59
    assert len(calls) == 1


async def test_watching_is_no_activity(connect, fetch, jp_fetch):
    async def last_activity():
        return json.loads((await jp_fetch("api", "status")).body)["last_activity"]

    before = await last_activity()
    await fetch("snapshot")
    await fetch("history")
    socket = await connect(params={"hz": "10"})
    await read_frames(socket, 5)
    await socket.write_message("hello")
    assert await last_activity() == before
    await jp_fetch("api", "contents")  # a reader's request does count
    assert await last_activity() > before


async def test_other_nodes_come_before_a_sample_and_only_when_they_are_news(connect, broadcast):
    socket = await connect(params={"hz": "10"})
    kinds = {frame["kind"] for frame in await read_frames(socket, 8)}
    assert kinds == {"hello", "history", "sample"}  # of what there is not, nothing is said
    # 25 samples may take longer than a file stays fresh; a date ahead is as near as one behind.
    write_nodes(nodes_file(), found(time.time() + 4))
    frames = await read_frames(socket, 25)
    (nodes,) = [frame for frame in frames if frame["kind"] == "nodes"]
    assert nodes["version"] == 1
    assert [each["name"] for each in nodes["nodes"]["nodes"]] == ["nb", "nc"]
    nodes_file().unlink()
    frames = await read_frames(socket, 25)
    assert [frame["nodes"] for frame in frames if frame["kind"] == "nodes"] == [None]


async def test_a_plan_comes_before_the_first_sample(connect):
    write_plan("a model", ((PlannedTerm("weights", "weights", 10),),))
    frames = await read_frames(await connect(params={"hz": "10"}), 4)
    assert [frame["kind"] for frame in frames] == ["hello", "history", "plan", "sample"]
    assert frames[2]["plan"]["title"] == "a model"


async def test_handlers_only_read(jp_fetch, broadcast):
    for route in ("stream", "snapshot", "history"):
        for method in ("POST", "PUT", "DELETE"):
            body = None if method == "DELETE" else "{}"
            code, _ = await status_of(jp_fetch("workshop-monitor", route, method=method, body=body))
            assert code == 405
