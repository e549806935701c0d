"""What is written down twice is the same, and what is installed is what is written down."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = canonicalize_name(PROJECT["project"]["name"])
# Brought by the Python that makes the environment.
BROUGHT = {OURS, "pip", "setuptools"}


# A CUDA build of torch needs one version of these, its own.
WITH_TORCH = {"triton", "cuda-bindings"}


def pinned() -> dict[str, Version]:
    return {canonicalize_name(pin.name): version_of(pin) for pin in pins_of_file() if holds_here(pin)}


def pins_of_file() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def holds_here(pin: Requirement) -> bool:
    return pin.marker is None or pin.marker.evaluate()


def version_of(pin: Requirement) -> Version:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


def requirements_of_build() -> list[str]:
    hook = PROJECT["tool"]["hatch"]["build"]["hooks"]["jupyter-builder"]
    return PROJECT["build-system"]["requires"] + hook["dependencies"]


def test_every_installed_distribution_is_pinned_to_its_version() -> None:
    pins = pinned()
    wrong = []
    for distribution in distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        version = Version(distribution.version)
        # A build of torch (+cpu, +cu128) is the pinned version; the CUDA libraries are named by torch itself.
        comes_with_torch = (name.startswith("nvidia-") and name != "nvidia-ml-py") or name in WITH_TORCH
        if name not in BROUGHT and not comes_with_torch and pins.get(name) != Version(version.public):
            wrong.append(f"{name}=={version}, pinned: {pins.get(name)}")
    assert not wrong


def test_every_requirement_is_pinned_within_its_range() -> None:
    project = PROJECT["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    pins = pinned()
    for text in project["dependencies"] + extras + requirements_of_build():
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) in WITH_TORCH:
            assert {">=", "<"} == {one.operator for one in requirement.specifier}, text
            continue
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, text


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0"])  # of Debian 12; the oldest 3.12
def test_what_is_pinned_for_every_python_runs_on_the_oldest(python: str) -> None:
    # pip would try older versions of everything for hours before it gave up.
    for_all = {canonicalize_name(pin.name) for pin in pins_of_file() if pin.marker is None}
    for distribution in distributions():
        needs = distribution.metadata.get("Requires-Python")
        if needs and canonicalize_name(distribution.metadata["Name"]) in for_all:
            assert SpecifierSet(needs).contains(python), (
                f"{distribution.metadata['Name']} needs Python {needs}"
            )


def test_torch_is_pinned_by_its_public_version() -> None:
    assert str(pinned()["torch"]) == "2.13.0"


def test_conda_environment_lists_what_pyproject_lists() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    packages = environment["dependencies"]
    by_pip = next(entry["pip"] for entry in packages if isinstance(entry, dict))
    options = [line for line in by_pip if line.startswith("-") or line == "."]
    assert options == ["--constraint constraints.txt", "."]
    assert [line for line in by_pip if line not in options] == PROJECT["project"]["dependencies"]
    assert f"python{PROJECT['project']['requires-python']}" in packages


def test_nothing_tracked_names_a_package_index() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    index = re.compile(rb"https?://[^\s\"']*(simple/|registry\.|whl/c|files\.pythonhosted|artifactory)")
    files = [ROOT / name for name in tracked.split("\0") if name and (ROOT / name).is_file()]
    named = [file for file in files if file != Path(__file__) and index.search(file.read_bytes())]
    assert not named


def test_make_help_explains_every_target_that_a_reader_types() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE))
    shown = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    unlisted = {"test-environment", "chromium", "proxies", "slurm", "ood"}
    assert {name for name in phony if f"make {name} " in shown} == phony - unlisted


def test_a_skipped_test_fails_under_ci_and_only_there(tmp_path: Path) -> None:
    test = tmp_path / "test_skip.py"
    test.write_text(
        "import pytest\n"
        "def test_skipped(): pytest.skip('no such thing')\n"
        "@pytest.mark.xfail(strict=True)\n"
        "def test_expected(): assert False\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-p", "no_silent_skips", "-p", "no:cacheprovider", str(test)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "plugins")}
    outcome = {}
    for setting in ("true", ""):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, "CI": setting},
            capture_output=True,
            text=True,
            check=False,
        )
        outcome[setting] = (done.returncode, done.stdout)
    assert outcome[""][0] == 0
    assert outcome["true"][0] == 1
    assert "no such thing" in outcome["true"][1]
    assert "1 failed, 1 xfailed" in outcome["true"][1]
