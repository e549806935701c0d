import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from workshop_utils.cli import main
from workshop_utils.lessons import lab_command as command_module
from workshop_utils.lessons.lab_server import CONFIG, lab_command, lab_environment

# The promise is 6 s on a quiet machine; tests share two cores with others.
PATIENCE_SECONDS = 60


@pytest.fixture
def lab(small_model, own_home, monkeypatch):
    """A real `workshop lab` without network, on a folder of its own; yields process, address and output."""
    monkeypatch.setenv("WORKSHOP_SHARED", str(small_model.parents[1]))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    log = own_home / "lab.log"
    (own_home / "nb").mkdir()
    # What the current folder holds must not run in the server.
    (own_home / "queue.py").write_text("raise SystemExit('a module of the current folder ran')\n")
    monkeypatch.chdir(own_home)
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (own_home / "nb" / "00_start_here.ipynb").write_text(json.dumps(notebook))
    command = [
        sys.executable,
        "-m",
        "workshop_utils",
        "lab",
        "--no-browser",
        "--folder",
        str(own_home / "nb"),
    ]
    extra = ["--", "--LabApp.expose_app_in_browser=True"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *extra], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process, wait_for_address(process, log), log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Return the address with its token that the server prints for its reader."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        for file in (Path(os.environ["HOME"]) / ".local/share/jupyter/runtime").glob("jpserver-*.json"):
            try:
                server = json.loads(file.read_text())
                address = f"{server['url']}?token={server['token']}"
                urllib.request.urlopen(address.replace("?", "api/status?"), timeout=5).close()
                return address
            except (ValueError, OSError):
                pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def get(address: str, path: str) -> str:
    with urllib.request.urlopen(address.replace("?", f"{path}?"), timeout=20) as answer:
        return answer.read().decode()


def test_lab_opens_on_this_machine_with_a_key_and_asks_no_network(lab, own_home) -> None:
    process, address, log = lab
    page = get(address, "lab")
    found = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found
    settings = json.loads(found[1])
    assert "@jupyterlab/apputils-extension:announcements" in settings["disabledExtensions"]
    assert settings["extensionManager"]["can_install"] is False
    assert settings["exposeAppInBrowser"] is True  # what stands after -- reaches JupyterLab
    assert re.match(r"http://(127\.0\.0\.1|localhost):\d+/", address)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(address.split("?")[0] + "?", "api/contents")
    listening = [c.laddr.ip for c in psutil.Process(process.pid).net_connections() if c.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}
    names = [item["name"] for item in json.loads(get(address, "api/contents"))["content"]]
    assert "00_start_here.ipynb" in names
    assert "/lab/tree/00_start_here.ipynb" in log.read_text()
    assert json.loads(get(address, "api/kernelspecs"))["default"] == "python3"


def test_one_ctrl_c_ends_lab_and_its_kernels(lab) -> None:
    process, address, log = lab
    request = urllib.request.Request(
        address.replace("?", "api/kernels?"), data=b'{"name": "python3"}', method="POST"
    )
    token = address.split("token=")[1]
    request.add_header("Authorization", f"token {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0, log.read_text()
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_a_port_in_use_is_one_sentence(capsys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["lab", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"port {port} cannot be used (Address already in use)" in error
    assert "--port" in error and error.count("\n") == 1
    assert main(["lab", "--port", "70000"]) == 2
    assert "65535" in capsys.readouterr().err


def test_a_missing_model_without_network_is_one_sentence(own_home, monkeypatch, tmp_path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "WORKSHOP_SHARED": str(tmp_path / "nothing"),
        "WORKSHOP_CACHE": str(tmp_path / "cache"),
        "TQDM_DISABLE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "workshop_utils", "lab", "--no-browser", "--folder", str(tmp_path / "nb")],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "workshop model prepare --wheel FILE" in done.stderr and done.stderr.count("\n") == 1


def test_an_unwritable_folder_or_home_is_one_sentence(own_home, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["lab", "--folder", str(tmp_path / "file" / "nb")]) == 2
    assert "--folder FOLDER" in capsys.readouterr().err
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file" / "runtime"))
    assert main(["lab"]) == 2
    assert "JUPYTER_RUNTIME_DIR" in capsys.readouterr().err


def test_the_command_reaches_jupyterlab_without_torch(small_model, own_home, monkeypatch) -> None:
    monkeypatch.setenv("WORKSHOP_SHARED", str(small_model.parents[1]))
    script = (
        "import sys\nfrom workshop_utils.lessons import lab_command\n"
        "lab_command.become = lambda command, _: print(*command) or 0\n"
        "from workshop_utils.cli import main\nmain(['lab', '--folder', sys.argv[1]])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(own_home / "nb")], check=True)


def test_the_command_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    command = lab_command(tmp_path, 8899, browser=False, extra=["--debug"])
    assert command[:4] == [sys.executable, "-P", "-m", "jupyterlab"]
    assert {"--ServerApp.ip=127.0.0.1", "--ServerApp.port=8899", "--ServerApp.port_retries=0"} <= set(command)
    assert command[-2:] == ["--no-browser", "--debug"]
    assert not any("allow-root" in word or "port" in word for word in lab_command(tmp_path, None, True, []))
    # Jupyter takes one value; a portal's session listens for the portal.
    for ip in ("--ServerApp.ip=0.0.0.0", "--ip=0.0.0.0"):
        command = lab_command(tmp_path, None, True, [ip])
        assert [word for word in command if "ip=" in word] == [ip]
        assert any("KeyRequired" in word for word in command)


def test_the_environment_of_the_kernels(own_home, monkeypatch, tmp_path) -> None:
    plain = lab_environment({"JUPYTER_CONFIG_PATH": "/theirs"})
    assert plain["JUPYTER_CONFIG_PATH"] == f"{CONFIG}{os.pathsep}/theirs"
    assert "SLURM_EXPORT_ENV" not in plain and "HF_HUB_CACHE" not in plain
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    job = lab_environment({"SLURM_JOB_ID": "7", "SLURM_EXPORT_ENV": "NONE"})
    assert job["SLURM_EXPORT_ENV"] == "ALL"
    assert job["HF_HUB_CACHE"] == str(tmp_path / "huggingface" / "hub")
    assert "HF_HUB_OFFLINE" not in job


def test_kept_notebooks_are_reported(monkeypatch, own_home, capsys) -> None:
    monkeypatch.setattr(command_module, "bring_notebooks", lambda _: ["Kept your changed a.ipynb."])
    monkeypatch.setattr(command_module, "prepare_small_model", lambda: None)
    monkeypatch.setattr(command_module, "become", lambda *_: 0)
    assert main(["lab", "--folder", str(own_home)]) == 0
    assert "Kept your changed a.ipynb." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["jupyter_server_config.py", "jupyter_lab_config.py"])
@pytest.mark.parametrize(
    "line",
    ["c.IdentityProvider.token = ''", "c.ServerApp.token = ''", "c.PasswordIdentityProvider.token = ''"],
)
def test_lab_does_not_start_without_a_key(small_model, own_home, monkeypatch, name, line) -> None:
    monkeypatch.setenv("WORKSHOP_SHARED", str(small_model.parents[1]))
    (own_home / ".jupyter").mkdir()
    (own_home / ".jupyter" / name).write_text(f"{line}\n")
    command = [
        sys.executable,
        "-m",
        "workshop_utils",
        "lab",
        "--no-browser",
        "--folder",
        str(own_home / "nb"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == 2, done.stderr
    assert "switches the key off" in done.stderr and "Traceback" not in done.stderr


def test_a_key_that_the_reader_types_is_their_choice(tmp_path) -> None:
    plain = lab_command(tmp_path, None, False, [])
    assert any("KeyRequired" in word for word in plain)
    typed = lab_command(tmp_path, None, False, ["--IdentityProvider.token="])
    assert not any("KeyRequired" in word for word in typed)
