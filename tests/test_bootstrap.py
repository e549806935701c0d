"""The first minute, without installing anything: versions, stamps, repair, plans and sentences."""

import ast
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workshop_utils import (
    bootstrap,
    bootstrap_environment,
    bootstrap_place,
    bootstrap_shared,
    bootstrap_start,
)
from workshop_utils.bootstrap_environment import Environment, digest, prepare
from workshop_utils.bootstrap_start import start
from workshop_utils.bootstrap_steps import Ticker, explain, run_step
from workshop_utils.bootstrap_torch import install_commands, site_constraints, site_torch
from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.caches import VARIABLES, cache_variables

PACKAGE = Path(bootstrap.__file__).parent


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*VARIABLES, "HF_HOME", "SCRATCH", "USER", "WORKSHOP_CACHE", "WORKSHOP_VENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


# An old Python


def test_the_first_file_parses_under_python_3_6() -> None:
    ast.parse((PACKAGE / "bootstrap.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_before_the_version_check_only_the_standard_library_is_imported() -> None:
    for file in PACKAGE.glob("bootstrap*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            allowed = sys.stdlib_module_names | (set() if file.name == "bootstrap.py" else {"workshop_utils"})
            assert {name.split(".")[0] for name in names} <= allowed, file


def test_a_too_old_python_is_named_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.main(["lab"], version=(3, 9)) == 2
    said = capsys.readouterr().err
    assert "Python 3.9" in said and "PYTHON=" in said
    assert len(said.splitlines()) == 1


def test_a_newer_python_on_the_path_takes_over_and_a_shim_that_fails_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, script in (("python3.12", "exit 127"), ("python3.11", "echo 3 11")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    class ReplacedError(Exception):
        pass

    def replace(command: str, words: list[str]) -> None:
        raise ReplacedError(command, words)

    monkeypatch.setattr(bootstrap.os, "execvp", replace)
    with pytest.raises(ReplacedError) as replaced:
        bootstrap.main(["environment"], version=(3, 6))
    command, words = replaced.value.args
    assert command == "python3.11"
    assert words == ["python3.11", str(PACKAGE / "bootstrap.py"), "environment"]


# The environment


class Builds:
    """Stands for the build: makes what the stamp looks for, or fails like pip."""

    def __init__(self) -> None:
        self.count = 0
        self.failure: Exception | None = None
        self.requirement: list[str] = []

    def __call__(self, environment: Environment, torch: str, requirement: list[str]) -> None:
        self.count += 1
        self.requirement = requirement
        if self.failure is not None:
            raise self.failure
        for name in ("python", "workshop"):
            environment.command(name).parent.mkdir(parents=True, exist_ok=True)
            environment.command(name).touch()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Builds:
    """A checkout of a few files, and no real build."""
    checkout = tmp_path / "checkout"
    (checkout / "jupyter_extension" / "src").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "jupyter_extension/src/panel.ts"):
        (checkout / name).write_text(name, encoding="utf-8")
    fake = Builds()
    front_end = checkout / "jupyter_extension"
    for name, value in (
        ("CHECKOUT", checkout), ("CONSTRAINTS", checkout / "constraints.txt"), ("FRONT_END", front_end),
        ("LABEXTENSION", front_end / "labextension"), ("LINK", checkout / ".venv"), ("build", fake),
    ):  # fmt: skip
        monkeypatch.setattr(bootstrap_environment, name, value)
    monkeypatch.setattr(bootstrap_environment, "require_space", lambda *_: None)
    return fake


NONE: frozenset[str] = frozenset()


def test_a_second_start_builds_nothing(builds: Builds, tmp_path: Path) -> None:
    for _ in range(2):
        prepare(tmp_path / "venv", "pypi", NONE)
    assert builds.count == 1


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "jupyter_extension/src/panel.ts"])
def test_a_changed_source_builds_again(builds: Builds, tmp_path: Path, name: str) -> None:
    prepare(tmp_path / "venv", "pypi", NONE)
    (tmp_path / "checkout" / name).write_text("changed", encoding="utf-8")
    prepare(tmp_path / "venv", "pypi", NONE)
    assert builds.count == 2


def test_extras_are_added_and_kept(builds: Builds, tmp_path: Path) -> None:
    prepare(tmp_path / "venv", "pypi", NONE)
    prepare(tmp_path / "venv", "pypi", frozenset({"test"}))
    assert builds.requirement[-1].endswith("checkout[test]")
    prepare(tmp_path / "venv", "pypi", NONE)
    assert builds.count == 2


def test_a_later_start_keeps_the_build_of_torch_and_another_choice_starts_over(
    builds: Builds, tmp_path: Path
) -> None:
    assert prepare(tmp_path / "venv", "", NONE).stamp()["torch"] == "pypi"
    assert prepare(tmp_path / "venv", "cu128", NONE).stamp()["torch"] == "cu128"
    assert prepare(tmp_path / "venv", "", NONE).stamp()["torch"] == "cu128"
    assert builds.count == 2


def test_a_failed_first_build_leaves_nothing(builds: Builds, tmp_path: Path) -> None:
    builds.failure = WorkshopError("no network")
    with pytest.raises(WorkshopError, match="no network"):
        prepare(tmp_path / "venv", "pypi", NONE)
    assert not (tmp_path / "venv").exists()


def test_a_failed_update_keeps_the_environment_and_tries_again(builds: Builds, tmp_path: Path) -> None:
    environment = prepare(tmp_path / "venv", "pypi", NONE)
    before = environment.stamp()
    (tmp_path / "checkout" / "pyproject.toml").write_text("changed", encoding="utf-8")
    builds.failure = WorkshopError("no network")
    with pytest.raises(WorkshopError, match="no network"):
        prepare(tmp_path / "venv", "pypi", NONE)
    assert environment.stamp() == before and before
    builds.failure = None
    prepare(tmp_path / "venv", "pypi", NONE)
    assert builds.count == 3


def test_a_killed_build_starts_over_in_a_clean_folder(builds: Builds, tmp_path: Path) -> None:
    builds.failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "venv", "pypi", NONE)
    (tmp_path / "venv" / "half-a-package").touch()
    builds.failure = None
    prepare(tmp_path / "venv", "pypi", NONE)
    assert not (tmp_path / "venv" / "half-a-package").exists()
    assert builds.count == 2


def test_an_environment_made_by_hand_is_never_removed(builds: Builds, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "pyvenv.cfg").touch()
    (venv / "precious").touch()
    builds.failure = WorkshopError("no network")
    with pytest.raises(WorkshopError):
        prepare(venv, "pypi", NONE)
    with pytest.raises(WorkshopError, match="was not made by"):
        bootstrap_environment.remove(Environment(venv))
    assert (venv / "precious").exists()


def test_a_folder_with_other_files_is_refused(builds: Builds, tmp_path: Path) -> None:
    venv = tmp_path / "thesis"
    venv.mkdir()
    (venv / "chapter-1.tex").touch()
    with pytest.raises(WorkshopError, match="holds other files"):
        prepare(venv, "pypi", NONE)
    assert builds.count == 0
    assert [path.name for path in venv.iterdir()] == ["chapter-1.tex"]


def test_too_little_room_is_said_before_anything_is_written(
    builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workshop_utils import storage

    monkeypatch.setattr(bootstrap_environment, "require_space", storage.require_space)
    monkeypatch.setattr(storage, "free_space", lambda _: storage.FreeSpace(10**9, "quota"))
    with pytest.raises(WorkshopError, match=r"1\.0 GB are left of your quota.*WORKSHOP_VENV"):
        prepare(tmp_path / "venv", "pypi", NONE)
    assert builds.count == 0 and not (tmp_path / "venv").exists()


def test_a_missing_venv_module_is_named(
    builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(WorkshopError, match=r"apt install python3\.\d+-venv"):
        prepare(tmp_path / "venv", "pypi", NONE)


def test_a_parent_that_is_a_file_is_one_sentence(builds: Builds, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkshopError, match="cannot write"):
        prepare(tmp_path / "file" / "venv", "pypi", NONE)


def test_a_stale_panel_goes_before_the_build_and_a_fresh_one_stays(builds: Builds) -> None:
    built = bootstrap_environment.LABEXTENSION
    built.mkdir()
    sources = digest(bootstrap_environment.front_end_files(), bootstrap_environment.CHECKOUT)
    (built / "sources.sha256").write_text(sources, encoding="utf-8")
    bootstrap_environment.drop_stale_panel()
    assert built.is_dir()
    (bootstrap_environment.FRONT_END / "src" / "panel.ts").write_text("changed", encoding="utf-8")
    bootstrap_environment.drop_stale_panel()
    assert not built.exists()


def test_a_digest_knows_a_renamed_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same", encoding="utf-8")
    before = digest([tmp_path / "a"], tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest([tmp_path / "b"], tmp_path) != before


# Places


def test_the_environment_goes_to_scratch_with_a_link_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, scratch = tmp_path / "checkout", tmp_path / "scratch"
    checkout.mkdir()
    scratch.mkdir()
    monkeypatch.setattr(bootstrap_place, "CHECKOUT", checkout)
    monkeypatch.setattr(bootstrap_place, "LINK", checkout / ".venv")
    assert bootstrap_place.environment_folder() == checkout / ".venv"
    monkeypatch.setenv("SCRATCH", str(scratch))
    folder = bootstrap_place.environment_folder()
    assert folder.is_relative_to(scratch)
    for _ in range(2):
        bootstrap_place.link_to_checkout(folder)
    assert (checkout / ".venv").readlink() == folder
    monkeypatch.setenv("WORKSHOP_VENV", str(tmp_path / "elsewhere"))
    assert bootstrap_place.environment_folder() == tmp_path / "elsewhere"


def test_caches_move_only_where_the_home_is_not_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_variables() == {}
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("HF_HOME", "/readers/own")
    variables = cache_variables()
    assert set(variables) == set(VARIABLES) - {"HF_HUB_CACHE", "HF_XET_CACHE"}
    assert all(Path(folder).is_relative_to(tmp_path) for folder in variables.values())


def test_an_install_for_a_class_refuses_a_private_folder(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(WorkshopError, match="is private; choose"):
        bootstrap_shared.check_reachable(private / "class", "choose a PREFIX")


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder and a Python that others can reach (pytest's own are private), under a private umask."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(folder / "python"))
        before = os.umask(0o077)
        yield folder
        os.umask(before)


@pytest.mark.parametrize("mode", [None, 0o777, 0o2775])
def test_the_class_reads_an_install_and_only_its_owner_writes(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None
) -> None:
    prefix = open_folder / "new" / "class"
    if mode is not None:
        prefix.mkdir(parents=True)
        prefix.parent.chmod(0o755)
        prefix.chmod(mode)

    def build(environment: Environment, torch: str, requirement: list[str]) -> None:
        assert not prefix.stat().st_mode & 0o022  # not for a moment
        command = environment.command("workshop")
        command.parent.mkdir()
        command.parent.chmod(0o2777)
        command.touch()
        command.chmod(0o770)

    monkeypatch.setattr(bootstrap_shared, "build", build)
    for name in ("prepare_model", "compile_all"):
        monkeypatch.setattr(bootstrap_shared, name, lambda _: None)
    monkeypatch.setattr(bootstrap_environment, "require_space", lambda *_: None)
    bootstrap_shared.install_shared(prefix, "pypi")
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (prefix.parent, prefix, *prefix.rglob("*"))}
    assert modes["new"] == 0o755 and modes["bin"] == 0o2755 and modes["workshop"] == 0o755
    assert modes["class"] == (0o2755 if mode == 0o2775 else 0o755)


# make


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the lab was started with."""
    words: list[str] = []
    monkeypatch.setattr(bootstrap_start, "make_environment", lambda *_: Environment(tmp_path))
    monkeypatch.setattr(os, "execv", lambda _, command: words.extend(command[2:]))
    return words


def test_make_hands_the_labs_options_on_with_their_quotes(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf %s "$WORKSHOP_ARGS"\n', encoding="utf-8")
    python.chmod(0o755)
    options = """--folder "/tmp/a b" -- --x='c d'"""
    command = ["make", "-s", "lab", f"PYTHON={python}", f"ARGS={options}"]
    done = subprocess.run(command, cwd=PACKAGE.parents[1], capture_output=True, text=True, check=True)
    monkeypatch.setenv("WORKSHOP_ARGS", done.stdout)
    start(["lab"])
    assert asked == ["--folder", "/tmp/a b", "--", "--x=c d"]


def test_an_open_quote_in_the_options_is_one_sentence(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSHOP_ARGS", '--folder "/tmp/a b')
    assert start(["lab"]) == 2
    said = capsys.readouterr().err
    assert "close every quote" in said and len(said.splitlines()) == 1


def test_make_runs_an_environment_whose_path_has_spaces(tmp_path: Path) -> None:
    python = tmp_path / "an environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "ran $0"\n', encoding="utf-8")
    python.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "WORKSHOP_VENV": str(python.parents[1])}
    done = subprocess.run(
        ["make", "-s", "test-unit"],
        cwd=PACKAGE.parents[1], env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == f"ran {python}\n", done.stderr


# PyTorch


def test_the_default_torch_is_pips() -> None:
    ((_, command),) = install_commands("pypi", Path("v/python"), Path("c.txt"), ["-e", "."])
    assert command == ["v/python", "-m", "pip", "install", "--constraint", "c.txt", "-e", "."]


@pytest.mark.parametrize("build", ["auto", "cpu", "cu126", "cu128", "cu130"])
def test_other_builds_come_through_uv_before_pip_sees_torch(build: str) -> None:
    commands = [command for _, command in install_commands(build, Path("python"), Path("c.txt"), ["-e", "."])]
    assert commands[0][-1] == "uv"
    assert f"--torch-backend={build}" in commands[1] and commands[1][-1] == "torch"
    assert "c.txt" in commands[1]
    assert commands[2][-2:] == ["-e", "."]


def test_the_centres_torch_takes_the_place_of_the_pin() -> None:
    text = site_constraints("tokenizers==1\ntorch==2.13.0\ntqdm==4\n", "2.11.0+cu130")
    assert text == "tokenizers==1\ntorch===2.11.0+cu130\ntqdm==4\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo 'ModuleNotFoundError: No module named torch' >&2; exit 1", "cannot import torch"),
        ("""echo '["2.10.1", "12.6"]'""", "finds torch 2.10.1"),
    ],
)
def test_a_missing_or_old_torch_of_the_centre_is_refused(tmp_path: Path, answer: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(WorkshopError, match=said):
        site_torch(python)


def test_an_unknown_build_is_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["--torch", "cu999", "environment"]) == 2
    said = capsys.readouterr().err
    assert "TORCH=cu999" in said and "cu128" in said and len(said.splitlines()) == 1


# Steps


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "quota is full"),
        ("WARNING: Retrying … NewConnectionError …\nERROR: No matching distribution", "login node"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "cannot be written"),
        ("noise\nFileNotFoundError: Forced include\nerror: metadata-generation-failed", "Forced include"),
        ("ERROR: ResolutionImpossible.\n", "ResolutionImpossible"),
        ("", "said nothing"),
    ],
)  # fmt: skip
def test_a_failure_is_explained(output: str, said: str) -> None:
    assert said in explain(output)


def test_a_failed_step_keeps_its_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(WorkshopError, match=r"sleeping failed: error: no bed\. The whole output"):
        run_step("sleeping", ["sh", "-c", "echo 'error: no bed.'; exit 1"], log, {})
    assert log.read_text(encoding="utf-8") == "error: no bed.\n"


def test_a_search_that_cannot_end_is_ended(tmp_path: Path) -> None:
    script = "echo 'INFO: pip is looking at multiple versions of json5'; exec sleep 60"
    started = time.monotonic()
    with pytest.raises(WorkshopError, match="do not fit this Python"):
        run_step("installing", ["sh", "-c", script], tmp_path / "log", {"PATH": "/usr/bin:/bin"})
    assert time.monotonic() - started < 30


def test_the_elapsed_time_is_shown_with_the_latest_line() -> None:
    stream = io.StringIO()
    ticker = Ticker("installing", time.monotonic() - 75, stream)
    with ticker:
        ticker.news = "Collecting torch"
        assert ticker.line() == "installing · 1:15 · Collecting torch"
    assert stream.getvalue().splitlines()[-1] == "installing · 1:15 · finished"


def test_the_bootstrap_loads_nothing_that_is_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(PACKAGE / "bootstrap.py"), "environment"]
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "WORKSHOP_VENV": str(tmp_path / "file" / "v"),
    }
    (tmp_path / "file").touch()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    for heavy in ("pip", "jupyter_core", "torch", "numpy"):
        assert f"| {heavy}\n" not in done.stderr
