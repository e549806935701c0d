"""The Open OnDemand app for real: a Slurm job, JupyterLab in it, Apache before it, a reader who logs in."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.cluster.ood_portal import form_of, missing, read_connection, render, submit
from tests.slurm.small_cluster import small_cluster
from tests.workshop_monitor.proxies import missing as proxy_missing
from tests.workshop_monitor.proxies import running_proxy
from workshop_utils.cli import main

pytestmark = pytest.mark.slow

NODE = "wn-1"
SITE = """
schema = 1
name = "test"
title = "Test"
[slurm]
environment = [{lines}]
[[partitions]]
name = "gpu"
most_hours = 1
open_ondemand = "GPU"
[[gpus]]
name = "A100"
gpu = "A100-80GB"
type = "a100"
constraint = "a100"
partition = "gpu"
nodes = 1
per_node = 8
open_ondemand = "A100"
[caches]
scratch = "{scratch}"
"""
ANSWERS = {
    "queue": "gpu", "gpu_type": "A100", "gpus": "2", "hours": "1", "cores": "2", "memory": "8",
}  # fmt: skip
# A step of the job, and what a kernel was given.
CELL = """
import json, os, subprocess
step = subprocess.run(["srun", "hostname"], capture_output=True, text=True, timeout=60)
names = ("SLURM_EXPORT_ENV", "SRUN_CPUS_PER_TASK", "WORKSHOP_SITE", "HF_HUB_CACHE", "CUDA_VISIBLE_DEVICES")
print(json.dumps([step.returncode, step.stdout, step.stderr, {name: os.environ.get(name) for name in names}]))
"""


@dataclass
class Session:
    """A running session, as the portal and its reader see it."""

    folder: Path
    environment: dict[str, str]
    number: str
    portal: str
    scratch: Path
    notebooks: Path
    connection: dict[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"http://{self.portal}/node/{self.connection['host']}/{self.connection['port']}"

    @property
    def log(self) -> str:
        file = self.folder / "output.log"
        return file.read_text(errors="replace") if file.exists() else "(no output)"

    def queued(self) -> str:
        command = ["squeue", "--noheader", "--jobs", self.number, "--format=%T"]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout

    def processes(self) -> list[psutil.Process]:
        """Return what lives of the job: its server, its kernels and what these started."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("SLURM_JOB_ID") == self.number
                ours = ours and process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def until(condition: Callable[[], object], session: Session, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {session.queued()}\n{session.log}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Iterator[Session]:
    for reason in (missing("ruby"), proxy_missing("apache")):
        if reason:
            pytest.skip(reason)
    folder = tmp_path_factory.mktemp("ood")
    home, staged, scratch = (folder / name for name in ("home", "a-session", "scratch"))
    for each in (home / ".jupyter", staged, scratch):
        each.mkdir(parents=True)
    # A reader who once set a password and an address of their own.
    own = {"PasswordIdentityProvider": {"hashed_password": "sha1:0:0"}, "ServerApp": {"base_url": "/mine/"}}
    (home / ".jupyter" / "jupyter_server_config.json").write_text(json.dumps(own))
    # The job's environment is none of ours (--export=NONE): what isolates it comes as a centre's lines do.
    lines = [f"export HOME={home}", f"export WORKSHOP_SHARED={small_model.parents[1]}"]
    lines += ["unset WORKSHOP_CACHE SCRATCH XDG_CACHE_HOME HF_HOME"]
    site = folder / "test.toml"
    site.write_text(SITE.format(lines=", ".join(map(json.dumps, lines)), scratch=scratch))
    app, notebooks = folder / "app", home / "my notebooks"
    assert main(["site", "ood", str(site), "--out", str(app), "--install", sys.prefix]) == 0
    given = ANSWERS | {"folder": "~/my notebooks"}
    (result,) = render({"app": str(app), "answers": given, "staged": str(staged)})
    with (
        running_proxy("apache", folder / "apache") as port,
        small_cluster(folder / "slurm", NODE) as environment,
    ):
        number = submit(staged, result["submit"]["script"]["native"], environment)
        running = Session(staged, environment, number, f"127.0.0.1:{port}", scratch, notebooks)
        try:
            until(lambda: read_connection(staged), running, 60)
            running.connection = read_connection(staged) or {}
            # The button shows from now on: nobody who clicks it at once may find nothing there.
            assert requests.get(f"{running.base}/login", timeout=10).status_code == 200
            yield running
        finally:
            subprocess.run(["scancel", number], env=environment, check=False, timeout=30)


@pytest.fixture(scope="module")
def reader(session: Session) -> requests.Session:
    """A browser that has clicked the button on the portal's page."""
    app = session.folder.parent / "app"
    (result,) = render({"app": str(app), "connection": session.connection})
    action, fields = form_of(result["view"])
    browser = requests.Session()
    answer = browser.post(f"http://{session.portal}{action}", data=fields, timeout=30)
    assert answer.status_code == 200, answer.text
    # What opens is the first notebook.
    assert answer.url == f"{session.base}/lab/tree/00_start_here.ipynb"
    return browser


def test_nobody_else_reads_the_password(session: Session) -> None:
    assert set(session.connection) == {"host", "port", "password"}
    for name in ("connection.yml", "jupyter_server_config.py"):
        assert (session.folder / name).stat().st_mode & 0o777 == 0o600
    password = session.connection["password"]
    assert re.fullmatch(r"[A-Za-z0-9]{32}", password)
    assert password not in (session.folder / "jupyter_server_config.py").read_text()
    assert password not in session.log
    assert not [each for each in psutil.process_iter(["cmdline"]) if password in str(each.info["cmdline"])]


def test_nobody_comes_in_without_the_password(session: Session) -> None:
    for route in ("api/kernels", "api/contents", "workshop-monitor/snapshot"):
        assert requests.get(f"{session.base}/{route}", timeout=30).status_code == 403
    wrong = requests.post(f"{session.base}/login", data={"password": "x"}, timeout=30)
    assert wrong.status_code == 401
    empty = requests.post(f"{session.base}/login", data={"password": ""}, timeout=30)
    assert empty.status_code == 401
    assert requests.get(f"{session.base}/api/kernels", cookies=wrong.cookies, timeout=30).status_code == 403


def test_the_login_forms_own_way_leaves_every_other_route_protected(
    session: Session, reader: requests.Session
) -> None:
    forged = reader.post(f"{session.base}/api/kernels", json={}, timeout=30)
    assert forged.status_code == 403
    assert "_xsrf" in forged.text
    token = next(cookie for cookie in reader.cookies if cookie.name.startswith("username-"))
    assert token.get_nonstandard_attr("SameSite") == "Lax"
    assert token.path == session.base.removeprefix(f"http://{session.portal}") + "/"


def test_a_kernel_runs_and_srun_works_in_it(session: Session, reader: requests.Session) -> None:
    xsrf = {"X-XSRFToken": reader.cookies["_xsrf"]}
    made = reader.post(f"{session.base}/api/kernels", json={}, headers=xsrf, timeout=60)
    assert made.status_code == 201, made.text
    code, said, error, variables = json.loads(asyncio.run(run_cell(session, reader, made.json()["id"], CELL)))
    assert (code, said) == (0, f"{NODE}\n"), error
    assert variables["SLURM_EXPORT_ENV"] == "ALL"
    assert variables["SRUN_CPUS_PER_TASK"] == "2"
    assert variables["WORKSHOP_SITE"] == str(session.folder / "site.toml")
    assert variables["HF_HUB_CACHE"] == str(session.scratch / "multigpu-llm-workshop" / "huggingface" / "hub")
    assert len(variables["CUDA_VISIBLE_DEVICES"].split(",")) == 2


async def run_cell(session: Session, reader: requests.Session, kernel: str, code: str) -> str:
    """Return what a cell prints, over the websocket that a page of the portal opens."""
    url = f"{session.base.replace('http:', 'ws:')}/api/kernels/{kernel}/channels"
    origin = {"Origin": f"http://{session.portal}"}
    with pytest.raises(HTTPClientError) as refused:
        await websocket_connect(HTTPRequest(url, headers=origin))
    assert refused.value.code == 403
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in reader.cookies)
    connection = await websocket_connect(HTTPRequest(url, headers=origin | {"Cookie": cookies}))
    content = {"code": code, "silent": False, "store_history": False, "stop_on_error": True}
    header = {
        "msg_id": "cell",
        "msg_type": "execute_request",
        "username": "",
        "session": "s",
        "version": "5.3",
    }
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await connection.write_message(json.dumps(message))
    said = ""
    while True:
        text = await asyncio.wait_for(connection.read_message(), 60)
        assert text is not None
        answer = json.loads(text)
        if answer["parent_header"].get("msg_id") != "cell":
            continue
        if answer["msg_type"] == "error":
            raise AssertionError(answer["content"])
        if answer["msg_type"] == "stream":
            said += answer["content"]["text"]
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            connection.close()
            return said


def test_the_panel_is_there_and_has_figures(session: Session, reader: requests.Session) -> None:
    page = reader.get(f"{session.base}/lab", timeout=30).text
    config = re.search(r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', page, re.S)
    assert config is not None
    settings = json.loads(config[1])
    assert "workshop-monitor" in {each["name"] for each in settings["federated_extensions"]}
    # The workshop's own settings hold beside the session's configuration: no news, and the panel not off.
    disabled = list(settings["disabledExtensions"])
    assert not [name for name in disabled if name.startswith("workshop-monitor")]
    assert any("announcements" in name for name in disabled)
    snapshot = reader.get(f"{session.base}/workshop-monitor/snapshot", timeout=30)
    assert snapshot.status_code == 200
    assert snapshot.json()["kind"] == "sample"
    assert snapshot.json()["host"]["status"] == "ok"


def test_the_notebooks_are_the_readers_own(session: Session, reader: requests.Session) -> None:
    listed = reader.get(f"{session.base}/api/contents", timeout=30).json()["content"]
    assert "00_start_here.ipynb" in {each["name"] for each in listed}
    assert (session.notebooks / "00_start_here.ipynb").is_file()


def test_scancel_leaves_nothing(session: Session) -> None:
    assert session.processes()
    subprocess.run(["scancel", session.number], env=session.environment, check=True, timeout=30)
    until(lambda: "RUNNING" not in session.queued() and not session.processes(), session, 30)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", session.connection["port"])) != 0
