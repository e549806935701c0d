"""``workshop kernel install`` for a JupyterLab that was there before, in a Python with nothing of ours."""

import json
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import ROOT, Server, free_port
from websocket import create_connection

WORKSHOP = Path(sys.executable).with_name("workshop")
KERNEL = "multigpu-llm-workshop"
TOKEN = "secret-of-this-test"
KERNEL_SECONDS = 90


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The centre's environment: JupyterLab and what it brings, nothing else."""
    folder = tmp_path_factory.mktemp("centre") / "jupyter"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "jupyterlab"], check=True)
    missing = subprocess.run(
        [folder / "bin" / "python", "-c", "import workshop_utils"], capture_output=True, check=False
    )
    assert missing.returncode != 0
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A reader's home whose jupyter_config.py already says something."""
    config = tmp_path / ".jupyter" / "jupyter_config.py"
    config.parent.mkdir()
    config.write_text("READERS_OWN = 1\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def start_centre(centre: Path, home: Path, start_server: Callable[..., Server]) -> Callable[[], Server]:
    """Start the centre's JupyterLab as Open OnDemand does: own --config, own base URL, any origin."""

    def start() -> Server:
        port = free_port()
        base = f"/node/host/{port}/"
        config = home / "ondemand" / "config.py"
        config.parent.mkdir(exist_ok=True)
        config.write_text(
            f"c.ServerApp.base_url = {base!r}\n"
            "c.ServerApp.ip = '127.0.0.1'\n"
            f"c.ServerApp.port = {port}\n"
            "c.ServerApp.port_retries = 0\n"
            "c.ServerApp.open_browser = False\n"
            "c.ServerApp.allow_root = True\n"
            "c.ServerApp.allow_origin = '*'\n"
            f"c.IdentityProvider.token = {TOKEN!r}\n",
            encoding="utf-8",
        )
        command = [str(centre / "bin" / "jupyter"), "lab", f"--config={config}"]
        url = f"http://127.0.0.1:{port}{base}"
        return start_server(command, environment(centre, home), url, TOKEN, home / "server.log")

    return start


def environment(centre: Path, home: Path) -> dict[str, str]:
    # --export=NONE leaves little more than this.
    return {"HOME": str(home), "PATH": f"{centre / 'bin'}:/usr/bin:/bin", "SLURM_EXPORT_ENV": "NONE"}


def kernel(action: str, centre: Path, home: Path, *more: str) -> dict[str, Any]:
    command = [str(WORKSHOP), "kernel", action, "--json", *more]
    done = subprocess.run(command, env=environment(centre, home), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def panels(server: Server) -> set[str]:
    page = server.get("lab").decode()
    settings = re.search(
        r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', page, re.DOTALL
    )
    assert settings
    return {extension["name"] for extension in json.loads(settings[1])["federated_extensions"]}


def execute(server: Server, code: str) -> str:
    """Run the code in our kernel of that server and return what it prints."""
    started = server.post("api/kernels", {"name": KERNEL})
    channel = create_connection(
        server.url.replace("http", "ws") + f"api/kernels/{started['id']}/channels",
        header=[f"Authorization: token {server.token}"], timeout=KERNEL_SECONDS,
    )  # fmt: skip
    request = uuid.uuid4().hex
    header = {
        "msg_id": request,
        "username": "",
        "session": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "version": "5.3",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": False,
        "allow_stdin": False,
        "stop_on_error": True,
    }
    channel.send(
        json.dumps(
            {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
        )
    )
    said = ""
    deadline = time.monotonic() + KERNEL_SECONDS
    while time.monotonic() < deadline:
        message = json.loads(channel.recv())
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "stream":
            said += message["content"]["text"]
        elif message["msg_type"] == "execute_reply":
            assert message["content"]["status"] == "ok", message["content"]
        elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            channel.close()
            return said
    raise AssertionError(f"no answer in {KERNEL_SECONDS} s; so far: {said}")


def test_kernel_and_panel_appear_work_and_go(
    centre: Path, home: Path, start_centre: Callable[[], Server]
) -> None:
    for _ in range(2):  # the second time must change nothing
        assert kernel("install", centre, home)["panel"] is True
    config = home / ".jupyter" / "jupyter_config.py"
    assert config.read_text(encoding="utf-8").count(">>> multigpu-llm-workshop") == 1

    server = start_centre()
    specifications = json.loads(server.get("api/kernelspecs"))["kernelspecs"]
    assert specifications[KERNEL]["spec"]["display_name"] == "Multi-GPU LLM workshop"
    assert "workshop-monitor" in panels(server)
    snapshot = json.loads(server.get("workshop-monitor/snapshot"))
    assert snapshot["host"]["status"] == "ok", snapshot
    said = execute(
        server,
        "import os, shutil, torch, workshop_utils\n"
        "print(torch.__version__, os.environ['SLURM_EXPORT_ENV'], shutil.which('workshop'), sep='|')",
    )
    version, export, found = said.strip().split("|")
    assert version[0].isdigit() and (export, found) == ("ALL", str(WORKSHOP))

    assert len(kernel("remove", centre, home)["removed"]) == 5
    assert config.read_text(encoding="utf-8") == "READERS_OWN = 1\n"
    server = start_centre()
    assert KERNEL not in json.loads(server.get("api/kernelspecs"))["kernelspecs"]
    assert "workshop-monitor" not in panels(server)
    with pytest.raises(Exception, match="404"):
        server.get("workshop-monitor/snapshot")
    assert kernel("remove", centre, home) == {"removed": []}


def test_a_named_jupyter_that_is_none_is_refused_in_one_sentence(centre: Path, home: Path) -> None:
    done = subprocess.run(
        [str(WORKSHOP), "kernel", "install", "--jupyter", "/bin/true"],
        env=environment(centre, home), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--jupyter /bin/true" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (home / ".local").exists()
