"""``workshop request`` as a reader runs it, where there is no Slurm."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.models.catalogue import bundled_config

MODEL = ["request", "llama-3.1-8b", "--tokens", "8192", "--prompts", "200", "--site", "uva", "--no-queue"]
EXAMPLE = ["request", "smollm2-135m", "--site", "example", "--no-queue"]
KEYS = {
    "site",
    "plan",
    "request",
    "script",
    "form",
    "form_refusal",
    "problems",
    "slurm",
    "slurm_unasked",
    "job",
}


@pytest.fixture(autouse=True)
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the programs of a system, without Slurm's."""
    (tmp_path / "bin").mkdir()
    for name in ("bash", "env"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}" if name == "bash" else "/usr/bin/env")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)


def test_script_form_and_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MODEL, "--account", "mygroup"]) == 0
    said = capsys.readouterr().out
    script = said[: said.index("Or in Open OnDemand")]
    assert script.startswith("#!/bin/bash\n") and "#SBATCH --account=mygroup" in script
    assert "Or in Open OnDemand (JupyterLab, https://ood.hpc.virginia.edu):" in said
    assert "Rivanna/Afton Partition" in said
    assert "uva's site file has nothing against it." in said
    assert "Slurm was not asked: there is no sbatch here" in said
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MODEL, "--gpu", "H200", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == KEYS
    assert (found["site"], found["slurm"], found["job"], found["form"]) == ("uva", None, None, None)
    assert "does not offer the H200" in found["form_refusal"]
    assert [problem["kind"] for problem in found["problems"]] == ["account"]
    assert found["request"]["gpu"] == "H200" and found["script"].startswith("#!/bin/bash")


def test_a_model_on_disk_is_named_by_its_whole_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    config = bundled_config("smollm2-135m")
    assert config is not None
    (folder / "config.json").write_text(json.dumps(dict(config.fields)))
    main(["request", "my model", *EXAMPLE[2:], "--json"])
    found = json.loads(capsys.readouterr().out)
    assert str(folder) in found["request"]["command"]
    assert f"--model '{folder}'" in found["script"]
    # A folder beside us is no model of the catalogue.
    (tmp_path / "smollm2-135m").mkdir()
    main([*EXAMPLE, "--json"])
    assert "--model smollm2-135m --twin" in json.loads(capsys.readouterr().out)["script"]


def test_the_number_is_that_of_workshop_plan(capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", *MODEL[1:], "--json"])
    plans = json.loads(capsys.readouterr().out)["plans"]
    main([*MODEL, "--plan", "3", "--json"])
    found = json.loads(capsys.readouterr().out)["plan"]
    assert (found["gpu"], found["layout"], found["dtype"]) == tuple(
        plans[2][key] for key in ("gpu", "layout", "dtype")
    )


def test_out_writes_a_file_and_never_over_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*EXAMPLE, "--out", "job.sh"]) == 0
    assert "Written to job.sh." in capsys.readouterr().out
    written = (tmp_path / "job.sh").read_text()
    assert main([*EXAMPLE, "--plan", "2", "--out", "job.sh"]) == 2
    assert "job.sh is there already" in capsys.readouterr().err
    assert (tmp_path / "job.sh").read_text() == written
    assert main(["request", "--check", "job.sh", "--site", "example"]) == 0


def test_check_names_line_and_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.sh").write_text(
        "#!/bin/bash\n#SBATCH -A x -p gpu\n#SBATCH --gres=gpu:A40:1\nhostname\n"
    )
    assert main(["request", "--check", "mine.sh", "--site", "uva"]) == 1
    assert "uva would refuse it: line 3: GPU type A40 is written a40 here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give either a MODEL to plan for, or one of --check FILE"),
        (["llama-3.1-8b", "--watch", "3"], "give either a MODEL"),
        (["--check", "none.sh", "--site", "uva"], "none.sh is no file"),
        (["--watch", "x"], "'x' is no job's number"),
        (["--cancel", "--all"], "expected one argument"),
        (["--cancel", "7"], "there is no squeue here"),
        (["llama-3.1-8b", "--site", "nowhere"], "site 'nowhere' is neither"),
        ([*MODEL[1:], "--plan", "0"], "there is no plan 0; choose 1 to"),
        ([*MODEL[1:], "--plan", "9999"], "there is no plan 9999; choose 1 to"),
        ([*MODEL[1:], "--account", "$(id)"], "is no Slurm account"),
        ([*MODEL[1:], "--hours", "100"], "100 hours are more than partition"),
        ([*MODEL[1:], "--hours", "0"], "0 hours are no time for a job"),
        ([*MODEL[1:], "--out", "nowhere/job.sh"], "job.sh cannot be written into the folder nowhere"),
        ([*MODEL[1:], "--submit", "--json"], "--json leaves nowhere to ask"),
        (
            ["llama-3.1-70b", "--gpu", "RTX 2080 Ti", "--dtype", "float32", *MODEL[2:]],
            "nothing works: RTX 2080 Ti",
        ),
        ([*MODEL[1:], "--account", "x", "--submit", "--yes"], "there is no sbatch here"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["request", *words])
    except SystemExit as exit_:
        code = exit_.code
    said = capsys.readouterr().err
    assert code == 2
    assert sentence in said and said.count("\n") == 1


def fake_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an sbatch on the path that accepts all, and notes real submissions."""
    program = folder / "bin" / "sbatch"
    program.write_text(
        '#!/bin/bash\n[ "$1" = --test-only ] || echo x >> submitted\n'
        '[ "$1" != --test-only ] || '
        "{ echo 'sbatch: Job 5 to start at T using 1 processors on nodes n1' >&2; exit; }\n"
        "echo 5\n"
    )
    program.chmod(0o755)
    return folder / "submitted"


@pytest.mark.parametrize(("answer", "jobs"), [("y\n", 1), ("n\n", 0), ("\n", 0), ("", 0), ("maybe\n", 0)])
def test_nothing_is_submitted_unless_it_was_shown_and_agreed_to(
    answer: str, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    submitted = fake_sbatch(tmp_path, monkeypatch)
    (tmp_path / "answer").write_text(answer)
    with (tmp_path / "answer").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main([*EXAMPLE, "--submit"]) == (0 if jobs else 1)
    said = capfd.readouterr()
    assert "#SBATCH --gres" in said.out and "Submit this job? [y/N]" in said.err
    assert ("Submitted as job 5" in said.out) == bool(jobs)
    assert submitted.exists() == bool(jobs)


def test_without_submit_nothing_is_submitted_even_with_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = fake_sbatch(tmp_path, monkeypatch)
    assert main([*EXAMPLE, "--yes"]) == 0
    assert not submitted.exists()


def test_what_the_site_refuses_is_not_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted = fake_sbatch(tmp_path, monkeypatch)
    assert main([*MODEL, "--submit", "--yes"]) == 1
    assert "names no account" in capsys.readouterr().out
    assert not submitted.exists()


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["request", "--help"])
    assert "workshop request gemma-3-27b --tokens 32768" in capsys.readouterr().out


@pytest.mark.parametrize("own", [True, False])
def test_a_script_finds_the_programs_of_a_virtual_environment(
    own: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.prefix", "/home/me/my venv" if own else sys.base_prefix)
    main([*EXAMPLE, "--json"])
    lines = json.loads(capsys.readouterr().out)["script"].splitlines()
    assert ("export PATH='/home/me/my venv/bin':\"$PATH\"" in lines) == own
    assert any("source /path/to/your" in line for line in lines) != own


def test_a_placeholder_is_not_the_sites_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted = fake_sbatch(tmp_path, monkeypatch)
    (tmp_path / "mine.sh").write_text(
        "#!/bin/bash\n#SBATCH -A YOUR_ALLOCATION -p gpu --gres=gpu:a40:1\nhostname\n"
    )
    assert main(["request", "--check", "mine.sh", "--site", "uva", "--submit", "--yes"]) == 1
    said = capsys.readouterr().out
    assert "It is not complete: line 2: YOUR_ALLOCATION stands for your own allocation" in said
    assert not submitted.exists()
