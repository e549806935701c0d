"""What stands between an Open OnDemand app and a job, as far as a test needs it."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

RENDER = Path(__file__).with_name("render_ood.rb")
# In the order and with the names of the portal's "basic" template: helpers, host, before.sh sourced,
# script.sh beside it, after.sh sourced, then the file that says where the session is.
JOB = """#!/bin/bash
cd {staged}
export host port
write_connection () (
  umask 077
  printf 'host: %s\\nport: %s\\npassword: %s\\n' "$host" "$port" "$password" >connection.new
  mv connection.new connection.yml
)
port_used () {{ (: <"/dev/tcp/${{1%:*}}/${{1##*:}}") 2>/dev/null; }}
find_port () {{
  local found
  while found=$(shuf -i 20000-32000 -n 1); port_used "$1:$found"; do :; done
  echo "$found"
}}
create_passwd () {{ tr -cd '[:alnum:]' </dev/urandom 2>/dev/null | head -c "${{1:-32}}"; }}
export -f port_used find_port create_passwd
# A portal's cluster file says which name it reaches a node by (set_host).
host=127.0.0.1
[[ -e {staged}/before.sh ]] && source {staged}/before.sh
echo 'Script starting...'
{staged}/script.sh &
SCRIPT_PID=$!
[[ -e {staged}/after.sh ]] && source {staged}/after.sh
write_connection
wait $SCRIPT_PID
pkill -P $SCRIPT_PID
pkill -P $$
exit 0
"""


def missing(*programs: str) -> str | None:
    """Return what to install where a program is not there."""
    lacking = [program for program in programs if shutil.which(program) is None]
    return f"needs {' and '.join(lacking)} (Debian: apt-get install ruby shellcheck)" if lacking else None


def render(*cases: dict[str, Any]) -> list[dict[str, Any]]:
    """Render an app with Ruby, once for each case."""
    done = subprocess.run(
        ["ruby", RENDER], input=json.dumps(cases), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def submit(staged: Path, native: list[str], environment: dict[str, str]) -> str:
    """Submit a staged session as the portal does, its script through standard input; returns its number."""
    words = [
        "sbatch",
        "-D",
        staged,
        "-J",
        "session",
        "-o",
        staged / "output.log",
        "--parsable",
        "--export=NONE",
    ]
    done = subprocess.run(
        [*words, *native], input=JOB.format(staged=staged), env=environment, cwd=staged, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def read_connection(staged: Path) -> dict[str, Any] | None:
    file = staged / "connection.yml"
    found: dict[str, Any] | None = yaml.safe_load(file.read_text()) if file.exists() else None
    return found


def form_of(view: str) -> tuple[str, dict[str, str]]:
    """Return where the button's form goes, and what it sends."""
    action = re.search(r'action="([^"]+)" method="post"', view)
    assert action is not None, view
    return action[1], dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', view))
