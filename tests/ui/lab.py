"""A real JupyterLab for a browser test: its own HOME and settings, a port that the OS chose."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 20
NEWS = "@jupyterlab/apputils-extension:announcements"


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def isolated_environment(home: Path) -> dict[str, str]:
    """Return our environment with HOME and all Jupyter folders inside ``home``, and no news pop-up."""
    config = home / "config"
    page_config = config / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True, exist_ok=True)
    page_config.write_text(json.dumps({"disabledExtensions": {NEWS: True}}), encoding="utf-8")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "XDG_", "IPYTHON", "SLURM"))
    }
    return inherited | {
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }


@dataclass
class Lab:
    """One JupyterLab server. ``stop`` and ``start`` again keep address and token, as a restart would."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    _process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def url(self) -> str:
        """Where a browser opens Lab, with the layout of a first visit."""
        return f"{self.base_url}lab?reset&token={self.token}"

    @property
    def log(self) -> str:
        """What the server printed since it was first started."""
        return (self.home / "lab.log").read_text(encoding="utf-8", errors="replace")

    def set_panel_settings(self, **settings: object) -> None:
        """Write the reader's settings of the panel, as Lab stores them; read when a page is opened."""
        file = self.home / "settings" / "workshop-monitor" / "panel.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")

    def __enter__(self) -> "Lab":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return when the server answers. RuntimeError with its log if it ends or stays silent."""
        root = self.home / "work"
        root.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
            "--ServerApp.ip=127.0.0.1", f"--port={self.port}", "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={root}",
            "--LabApp.expose_app_in_browser=True", *self.options,
        ]  # fmt: skip
        with (self.home / "lab.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=isolated_environment(self.home) | dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for_server(self.base_url, self.token, self._process)
        except RuntimeError as error:
            self.stop()
            raise RuntimeError(f"{error}\n{self.log}") from None

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End the server and wait for it; harmless when it is not running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None


def wait_for_server(base_url: str, token: str, process: subprocess.Popen[bytes]) -> None:
    """Return when ``base_url`` answers as a Jupyter server. RuntimeError after a minute or when it ended."""
    request = urllib.request.Request(f"{base_url}api/status", headers={"Authorization": f"token {token}"})
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"JupyterLab ended with exit code {process.returncode}.")
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab at {base_url} did not answer within {START_SECONDS} s.")
