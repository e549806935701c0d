"""Apache and nginx in front of a Jupyter server, as portals such as Open OnDemand put them.

Both run from a configuration of their own in a scratch folder and listen on the loopback interface only.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.workshop_monitor.server import free_port

APACHE_MODULES = Path("/usr/lib/apache2/modules")
# What Open OnDemand's portal does in Lua: the path names host and port, a websocket is passed on as one.
APACHE = """
ServerRoot "{folder}"
DefaultRuntimeDir "{folder}"
PidFile "{folder}/apache.pid"
ErrorLog "{folder}/error.log"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
{modules}
{user}
RewriteEngine On
RewriteCond %{{HTTP:Upgrade}} websocket [NC]
RewriteRule ^/node/([^/]+)/([0-9]+)/(.*)$ ws://$1:$2/node/$1/$2/$3 [P,L]
RewriteRule ^/node/([^/]+)/([0-9]+)/(.*)$ http://$1:$2/node/$1/$2/$3 [P,L]
"""
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
{user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/node/([^/]+)/([0-9]+)/ {{
            proxy_pass http://$1:$2;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""
PROXIES = ("apache", "nginx")


def missing(proxy: str) -> str | None:
    """Return what to install where a proxy is not there."""
    program = program_of(proxy)
    return None if program else f"needs {proxy} (Debian: apt-get install apache2-bin nginx-light)"


def program_of(proxy: str) -> str | None:
    name = "apache2" if proxy == "apache" else "nginx"
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def running_proxy(proxy: str, folder: Path) -> Iterator[int]:
    """Start a proxy, yield its port, and end it."""
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "proxy.conf"
    program = str(program_of(proxy))
    root = os.geteuid() == 0
    if proxy == "apache":
        names = ("mpm_event", "authz_core", "rewrite", "proxy", "proxy_http", "proxy_wstunnel")
        modules = "\n".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in names)
        user = "User www-data\nGroup www-data" if root else ""
        config.write_text(APACHE.format(folder=folder, port=port, modules=modules, user=user))
        command = [program, "-f", str(config), "-DFOREGROUND"]
    else:
        config.write_text(NGINX.format(folder=folder, port=port, user="user root;" if root else ""))
        command = [program, "-p", str(folder), "-c", str(config)]
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_it_listens(process, port, folder)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        time.sleep(0.05)
    logs = [log.read_text(errors="replace") for log in folder.glob("*.log")]
    raise RuntimeError("the proxy did not start: " + "\n".join(logs))
