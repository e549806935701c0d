"""Nothing from outside breaks out of a script or a form: names, words, paths, notes, a site's texts."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.cluster.fakes import fake_programs
from tests.cluster.plans import first
from workshop_utils.cluster import sbatch_script
from workshop_utils.cluster.ood_form import form_entries
from workshop_utils.cluster.request import Request
from workshop_utils.cluster.sbatch_script import python_environment, render
from workshop_utils.cluster.script_options import read_options
from workshop_utils.cluster.shell_words import VARIABLE
from workshop_utils.cluster.site import Site
from workshop_utils.errors import WorkshopError

# Each makes a file `marker`, or asks Slurm for something else, where it is read as more than text.
EVIL = (
    "$(touch marker)", "`touch marker`", "'; touch marker; '", '"; touch marker; "', "\ntouch marker\n",
    "\n#SBATCH --partition=nope\n", "\r\ntouch marker\r\n", "x & touch marker &", "| touch marker",
    "${IFS}touch", "\\'; touch marker #", "EOF\ntouch marker\nEOF\n", " --wrap=x", "$'\\n'touch marker",
    "!touch", "\u2028touch marker\u2028", "\x85touch marker\x85", "\x0btouch marker\x0c", "~/x", "*", "{a,b}",
    "a\tb", "%j/../x",
)  # fmt: skip
# Whatever Python holds as text, lone surrogates of odd file names included.
text = st.lists(st.one_of(st.sampled_from(EVIL), st.text(max_size=20)), min_size=1, max_size=4).map("".join)
# What a program can be given as an argument.
word = text.map(lambda found: found.replace("\0", "").encode("utf-8", "ignore").decode())
FEW = settings(max_examples=40, deadline=None)


@pytest.fixture(autouse=True, scope="module")
def no_folder_of_this_machine() -> Iterator[None]:
    """Write scripts as outside of a virtual environment: the stand-ins on the path are what runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sbatch_script, "programs_folder", lambda: None)
        yield


def requests() -> dict[str, tuple[Request, Site]]:
    return {
        "srun": first("uva", "smollm2-135m", gpu="A40", data=1),
        "array": first("uva", "smollm2-135m", gpu="A40", data=4),
        "torchrun": first("uva", "llama-3.1-70b", nodes=2, data=1),
        "vllm": first("uva", "smollm2-135m", "vllm", gpu="A40", data=1),
    }


def disturbed(request: Request, site: Site, name: str, note: str, words: list[str]) -> tuple[Request, Site]:
    """Return request and site with texts from outside wherever they hold any."""
    group = replace(request.group, name=name)
    program = (
        "vllm" if request.launcher == "vllm" else "torchrun" if request.launcher == "torchrun" else "work"
    )
    serve = (program, "serve") if program == "vllm" else () if program == "torchrun" else (program,)
    client = (program, "bench", *words) if program == "vllm" else ()
    return (
        replace(
            request, job_name=name, group=group, notes=(note, name), command=(*serve, *words), client=client
        ),
        # A site's own variables are filled in, and one that is not set ends the job: here all of them are.
        replace(site, title=note, scratch=VARIABLE.sub(set_here, f"/scratch/$USER/{words[0]}")),
    )


def set_here(variable: re.Match[str]) -> str:
    return variable[0] if variable[0] == "${IFS}" else "$USER"


def run_in_sandbox(script: str) -> tuple[list[list[str]], set[str], subprocess.CompletedProcess[str]]:
    """Run a script for real, with stand-ins for what it starts; returns their calls and the files it left."""
    with tempfile.TemporaryDirectory() as place:
        programs, folder = Path(place, "bin"), Path(place, "work")
        programs.mkdir()
        folder.mkdir()
        log = fake_programs(programs, "srun", "scontrol", "torchrun", "work", "vllm", "curl")
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin", "USER": "me", "HOME": str(folder), "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "a", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4",
            "LC_ALL": "C.UTF-8",
            "SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_NODEID": "0",
        }  # fmt: skip
        (folder.parent / "job.sh").write_text(script, errors="replace")
        done = subprocess.run(
            ["/bin/bash", "../job.sh"], cwd=folder, env=environment, capture_output=True, timeout=60,
            check=False, encoding="utf-8", errors="replace",
        )  # fmt: skip
        calls = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return calls, {path.name for path in folder.iterdir()}, done


@pytest.mark.parametrize("kind", ["srun", "array", "torchrun", "vllm"])
@FEW
@given(name=text, note=text, words=st.lists(word, min_size=1, max_size=3))
@example(name=EVIL[0], note=EVIL[4], words=list(EVIL))
@example(name=EVIL[5], note=EVIL[5], words=[EVIL[5], EVIL[4]])
@example(name=EVIL[0], note=EVIL[0], words=["$A"])
def test_nothing_breaks_out_of_a_script(kind: str, name: str, note: str, words: list[str]) -> None:
    request, site = requests()[kind]
    evil, place = disturbed(request, site, name, note, words)
    script = render(evil, place)
    # Slurm reads the same options as of the request without them, but for the job's name.
    asked, usual = (read_options(each).options for each in (script, render(request, site)))
    assert {key: option.value for key, option in asked.items() if key != "job-name"} == {
        key: option.value for key, option in usual.items() if key != "job-name"
    }
    lines = [line for line in script.split("set -euo pipefail")[0].splitlines() if line]
    assert all(line.startswith("#") for line in lines), "before the first command there are only comments"
    calls, left, done = run_in_sandbox(script)
    assert left == set(), done.stderr
    assert done.returncode == 0, done.stderr
    # The words arrive as they were written, in one piece each.
    program = evil.command[0] if kind != "torchrun" else "torchrun"
    given_to = [call[1:] for call in calls if call[0] == program]
    assert given_to
    for call in given_to:
        start = next(at for at in range(len(call)) if call[at : at + len(words)] == words)
        assert start >= 0


@pytest.mark.parametrize("kind", ["srun", "array", "torchrun", "vllm"])
@FEW
@given(name=text, note=text, words=st.lists(word, min_size=1, max_size=3))
def test_bash_parses_every_script(kind: str, name: str, note: str, words: list[str]) -> None:
    script = render(*disturbed(*requests()[kind], name, note, words))
    done = subprocess.run(
        ["bash", "-n"], input=script.encode(errors="replace"), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@FEW
@given(name=text, note=text, account=text)
def test_nothing_breaks_out_of_a_form(name: str, note: str, account: str) -> None:
    request, site = requests()["srun"]
    entries = form_entries(replace(request, job_name=name, notes=(note,)), site)
    assert entries == form_entries(request, site)
    try:
        entries = form_entries(replace(request, account=account), site)
    except WorkshopError as refusal:
        assert "is no Slurm account" in str(refusal)
    else:
        assert (
            ("Allocation", account) in entries and account.isascii() and not set(account) & set("'\"`$;\n ")
        )


@pytest.mark.parametrize("field", ["type", "constraint", "fast_constraint"])
@pytest.mark.parametrize("evil", ["a100\n#SBATCH -p x", "a100 --wrap=x", "$(id)", "", "a100;x"])
def test_a_site_files_names_of_slurm_are_names(field: str, evil: str) -> None:
    request, site = requests()["srun"]
    changed = replace(request, group=replace(request.group, **{field: evil}))
    if field != "type":
        changed = replace(changed, constraint=evil or "\n")
    with pytest.raises(WorkshopError, match="is no name that Slurm has"):
        render(changed, site)


def test_a_word_with_a_null_character_is_refused() -> None:
    request, site = requests()["srun"]
    with pytest.raises(WorkshopError, match="null character"):
        render(replace(request, command=("work", "a\0b")), site)


@pytest.mark.parametrize(
    "folder", ["/scratch/$USER", "$SCRATCH/x", "${WORK}/my files", "/a/$(touch marker)", "/b"]
)
def test_only_variables_of_a_scratch_folder_are_filled_in(folder: str) -> None:
    request, site = requests()["srun"]
    script = render(replace(request, command=("work",)), replace(site, scratch=folder))
    shown = script.replace("srun work", 'printf %s "$scratch" >&2')
    place = {"PATH": os.environ["PATH"], "USER": "me", "SCRATCH": "/s", "WORK": "/w"}
    done = subprocess.run(
        ["bash"], input=shown, env=place, capture_output=True, text=True, check=False, cwd="/tmp"
    )
    expected = folder.replace("$USER", "me").replace("$SCRATCH", "/s").replace("${WORK}", "/w")
    assert done.stderr == expected


@pytest.mark.parametrize("kind", ["srun", "array", "torchrun", "vllm", "vllm-2"])
def test_shellcheck_finds_nothing(kind: str) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck (Debian: apt-get install shellcheck; `make slurm` as root)")
    request, site = requests()[kind.removesuffix("-2")]
    nodes = 2 if kind.endswith("-2") else request.nodes
    script = render(replace(request, nodes=nodes), site)
    # Of its remarks, only one on single quotes, which are meant: every node fills in its own number.
    done = subprocess.run(
        ["shellcheck", "--severity=warning", "-"], input=script, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


@FEW
@given(folder=word)
@example(folder="/home/me/my workshop/.venv/bin")
def test_the_folder_of_python_stays_one_word(folder: str) -> None:
    line = list(python_environment(folder))[-1]
    assert line.startswith("export PATH=")
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            ["/bin/bash", "-c", f"{line}\nprintf %s \"$PATH\""], cwd=place, capture_output=True, check=True,
            env={"PATH": "/usr/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert done.stdout.decode() == f"{folder}:/usr/bin" and not os.listdir(place)
