"""The Open OnDemand app: what it is made of, what its ERB makes of a reader's answers, what shells read."""

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.ood_portal import missing, render
from workshop_utils.cli import main
from workshop_utils.cluster.site import find_site

ANSWERS: dict[str, dict[str, Any]] = {
    "uva": {
        "queue": "gpu", "gpu_type": "A100-80GB", "gpus": "2", "hours": "3", "cores": "8", "memory": "64",
        "account": "my-group", "reservation": "", "folder": "~/multigpu-llm-workshop",
    },
    "example": {
        "queue": "short", "gpu_type": "L4", "gpus": "1", "hours": "2", "cores": "4", "memory": "16",
        "reservation": "class_1", "folder": "/work/me/notebooks",
    },
}  # fmt: skip
HOSTILE = (
    "a b", "a'b", 'a"b', "$(touch broken)", "`touch broken`", "x; touch broken", "x\ntouch broken\n",
    "x' && touch broken '", '"; touch broken; "', "${IFS}touch${IFS}broken", "--folder=/tmp", "-rf", "a\\",
    "*", "~/é ü 漢字", "<%= `touch broken` %>", "%> touch broken <%", "#{`touch broken`}",
    "x\r\n#SBATCH --mem=1", "| touch broken", "& touch broken &", "!!", "\t", "EOL", "SITE",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def ruby() -> None:
    if reason := missing("ruby", "shellcheck"):
        pytest.skip(reason)


def made(folder: Path, site: str, install: Path = Path("/project/class/workshop")) -> Path:
    app = folder / f"app-{Path(site).stem}"
    words = ["site", "ood", site, "--out", str(app), "--install", str(install), "--cluster", "hpc"]
    assert main(words) == 0
    return app


def staged(app: Path, folder: Path, answers: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    render({"app": str(app), "answers": answers, "staged": str(folder)})
    return folder


def stub(folder: Path) -> Path:
    """Return an install whose `workshop` writes down its words and a few variables."""
    command = folder / "it's installed" / "bin" / "workshop"
    command.parent.mkdir(parents=True)
    variables = 'printf \'%s=%s\\n\' cache "$WORKSHOP_CACHE" srun "$SLURM_EXPORT_ENV" site "$WORKSHOP_SITE"'
    command.write_text(f"#!/bin/bash\nprintf '%s\\0' \"$@\" >words\n{variables} >variables\n")
    command.chmod(0o755)
    return command.parents[1]


def start(script: Path, **environment: str) -> list[str]:
    """Run a session's script, and return the words that the command was given."""
    given = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(script.parent),
        "port": "12345",
        "CONFIG_FILE": "the config",
    }
    done = subprocess.run(
        [script], cwd=script.parent, env=given | environment, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (script.parent / "words").read_bytes().decode().split("\0")[:-1]


@pytest.mark.parametrize("name", ["uva", "example"])
def test_the_form_offers_what_the_site_lets_its_forms_have(name: str, tmp_path: Path) -> None:
    site = find_site(name)
    (result,) = render({"app": str(made(tmp_path, name)), "answers": ANSWERS[name]})
    form, fields = result["form"], result["form"]["attributes"]
    assert result["manifest"]["role"] == "batch_connect"
    assert form["cluster"] == "hpc"
    assert ("account" in form["form"]) is site.account_required
    assert set(form["form"]) <= set(fields)
    offered = [each.name for each in site.gpus if each.open_ondemand]
    assert [option[1] for option in fields["gpu_type"]["options"]] == [*offered, "none"]
    assert [option[1] for option in fields["queue"]["options"]] == [
        each.name for each in site.partitions if each.open_ondemand
    ]
    assert fields["queue"]["label"] == site.form["partition"]
    assert fields["gpus"]["max"] == site.form["most_gpus"]
    assert fields["hours"]["max"] == max(each.most_hours for each in site.partitions if each.open_ondemand)
    labels = [option[0] for option in fields["gpu_type"]["options"]]
    assert len(labels) == len(set(labels))
    # Nobody is led to a GPU that many wait for.
    assert not site.nodes_of(fields["gpu_type"]["value"]).scarce


def test_batch_only_gpus_are_in_no_form(tmp_path: Path) -> None:
    app = made(tmp_path, "uva")
    answers = ANSWERS["uva"] | {"gpu_type": "H200"}
    (result,) = render({"app": str(app), "answers": answers})
    assert "H200" not in (app / "form.yml").read_text()
    assert result["refused"].startswith("GPU type: choose one of A100-80GB, A100-40GB,")


def test_the_answers_become_separate_words(tmp_path: Path) -> None:
    cases = [{"app": str(made(tmp_path, name)), "answers": answers} for name, answers in ANSWERS.items()]
    uva, example = (result["submit"] for result in render(*cases))
    assert uva["batch_connect"] == {"template": "basic"}
    assert uva["script"]["native"] == [
        "--partition=gpu", "--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=8", "--mem=64G", "--time=180",
        "--gres=gpu:a100:2", "--constraint=gpupod", "--account=my-group",
    ]  # fmt: skip
    assert example["script"]["native"] == [
        "--partition=short", "--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=4", "--mem=16G",
        "--time=120", "--gres=gpu:l4:1", "--reservation=class_1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"gpus": "1"}, "--constraint=a100_80gb"),
        ({"gpu_type": "A100-40GB", "gpus": "4"}, "--constraint=a100_40gb"),
        ({"gpu_type": "A40"}, "--gres=gpu:a40:2"),
        ({"hours": "72"}, "--time=4320"),
    ],
)
def test_one_answer_changed(changed: dict[str, str], word: str, tmp_path: Path) -> None:
    (result,) = render({"app": str(made(tmp_path, "uva")), "answers": ANSWERS["uva"] | changed})
    assert word in result["submit"]["script"]["native"]


def test_without_a_gpu_none_is_asked_for(tmp_path: Path) -> None:
    (result,) = render({"app": str(made(tmp_path, "uva")), "answers": ANSWERS["uva"] | {"gpu_type": "none"}})
    assert not [
        word for word in result["submit"]["script"]["native"] if "gres" in word or "constraint" in word
    ]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"gpus": "5"}, 'GPUs: give a whole number from 1 to 4, not "5".'),
        ({"gpus": ""}, 'GPUs: give a whole number from 1 to 4, not "".'),
        ({"hours": "73"}, 'Hours: give a whole number from 1 to 72, not "73".'),
        ({"hours": "1.5"}, "Hours: give a whole number from 1 to 72"),
        ({"cores": "0"}, "Cores: give a whole number from 1, not"),
        ({"memory": "16\n--wrap=x"}, "Memory in GB: give a whole number"),
        (
            {"queue": "interactive"},
            "the A100-80GB is in partition gpu, not in interactive; change one of them.",
        ),
        ({"queue": "gpu-mig"}, "Partition: choose one of gpu, interactive."),
        ({"account": ""}, 'Account: "" is no name that Slurm has.'),
        ({"account": "--wrap=x"}, "is no name that Slurm has."),
        ({"folder": "a\nb"}, "Folder: a path of up to 1000 characters, on one line."),
    ],
)
def test_what_the_form_would_not_send_is_refused(
    changed: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    (result,) = render({"app": str(made(tmp_path, "uva")), "answers": ANSWERS["uva"] | changed})
    assert sentence in result["refused"]


def test_no_answer_becomes_another_word_or_line(tmp_path: Path) -> None:
    app = made(tmp_path, "uva")
    cases = [
        {"app": str(app), "answers": ANSWERS["uva"] | {field: text}}
        for text in HOSTILE
        for field in ("queue", "gpu_type", "gpus", "hours", "cores", "memory", "account", "reservation")
        # An empty reservation is none.
        if not (field == "reservation" and not text.strip())
    ]
    accepted = {"EOL", "SITE"}
    for case, result in zip(cases, render(*cases), strict=True):
        answers = case["answers"]
        fine = {answers["account"], answers["reservation"]} & accepted
        assert ("refused" in result) is not bool(fine), answers
        if fine:
            words = result["submit"]["script"]["native"]
            assert f"--account={answers['account']}" in words
            assert all(word.startswith("--") and "\n" not in word for word in words)


def test_a_folder_stays_one_word_of_the_script(tmp_path: Path) -> None:
    site = tmp_path / "here.toml"
    text = find_site("example").path.read_text(encoding="utf-8")
    # What runs here writes in no folder of this machine's.
    site.write_text(text.replace("/work/$USER", str(tmp_path / "scratch")), encoding="utf-8")
    app = made(tmp_path, str(site), stub(tmp_path))
    letters = random.Random(7)
    made_up = ["".join(letters.choices("a '\"\\$`(){};&|<>#%!*?~\n\t-=é", k=12)) for _ in range(30)]
    sessions = [(tmp_path / f"session-{number}", text) for number, text in enumerate([*HOSTILE, *made_up])]
    for folder, _ in sessions:
        folder.mkdir()
    render(
        *({"app": str(app), "answers": {"folder": text}, "staged": str(folder)} for folder, text in sessions)
    )
    for folder, text in sessions:
        script = folder / "script.sh"
        words = start(script)
        wanted = text.strip() or "~/multigpu-llm-workshop"
        assert words == [
            "lab", f"--folder={wanted}", "--port", "12345", "--no-browser", "--", "--config=the config",
            "--ServerApp.ip=0.0.0.0",
        ]  # fmt: skip
        assert not (folder / "broken").exists(), text


@pytest.mark.parametrize("name", ["uva", "example"])
@pytest.mark.parametrize("folder", ["~/notebooks", "a 'b' $(touch broken) `c`"])
def test_shellcheck_finds_nothing(name: str, folder: str, tmp_path: Path) -> None:
    app = made(tmp_path, name, stub(tmp_path))
    session = staged(app, tmp_path / "session", ANSWERS[name] | {"folder": folder})
    for script in ("before.sh", "script.sh", "after.sh"):
        done = subprocess.run(
            ["shellcheck", script], cwd=session, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "")


def test_values_of_a_site_stay_values(tmp_path: Path) -> None:
    text = (find_site("example").path).read_text(encoding="utf-8")
    odd = """it's <%= `touch broken` %> #{1} "q" \\\\ @SITE@ é\\u0007"""
    text = text.replace('"H100"', f'"{odd}"'.replace('"q"', '\\"q\\"'), 1)
    text = text.replace("GPU type", odd.replace('"', '\\"'))
    text = text.replace('"module load cuda/13.0"', '"export A=\'<%= 1 %>\' B=\\"$(echo two)\\""')
    text = text.replace("/work/$USER", f"{tmp_path}/my work/$USER")
    path = tmp_path / "odd.toml"
    path.write_text(text, encoding="utf-8")
    site = find_site(str(path))
    app = made(tmp_path, str(path), stub(tmp_path))
    session = tmp_path / "session"
    session.mkdir()
    answers = ANSWERS["example"] | {"queue": "batch", "gpu_type": site.gpus[0].name}
    (result,) = render({"app": str(app), "answers": answers, "staged": str(session)})
    assert result["submit"]["script"]["native"][-2] == "--gres=gpu:h100:1"
    assert result["form"]["attributes"]["gpu_type"]["options"][0][1] == site.gpus[0].name
    assert result["form"]["attributes"]["gpu_type"]["label"] == site.form["gpu_type"]
    assert not (session / "broken").exists() and not Path("broken").exists()
    script = session / "script.sh"
    assert "export A='<%= 1 %>' B=\"$(echo two)\"\n" in script.read_text()
    start(script, USER="reader one")
    cache = tmp_path / "my work" / "reader one" / "multigpu-llm-workshop"
    assert cache.is_dir()
    assert (session / "variables").read_text() == f"cache={cache}\nsrun=ALL\nsite={session}/site.toml\n"
    assert find_site(str(session / "site.toml")).gpus == site.gpus


def test_every_user_may_read_the_app_and_nothing_is_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = made(tmp_path, "uva")
    assert "There is no /project/class/workshop/bin/workshop on this machine" in capsys.readouterr().err
    modes = {path.relative_to(app).as_posix(): path.stat().st_mode & 0o777 for path in app.rglob("*")}
    assert modes.pop("template/script.sh.erb") == 0o755 == modes.pop("template")
    assert set(modes.values()) == {0o644}
    (app / "form.yml").write_text("mine")
    words = ["site", "ood", "uva", "--out", str(app), "--install", "/project/class/workshop"]
    assert main(words) == 2
    assert "is there already; give another --out" in capsys.readouterr().err
    assert (app / "form.yml").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--install", "workshop"], "--install workshop is no absolute path"),
        (["--install", "/w", "--cluster", "a/../b"], "'a/../b' is no name of a cluster"),
    ],
)
def test_options_that_no_portal_could_use(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["site", "ood", "uva", "--out", str(tmp_path / "app"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "app").exists()


def test_a_site_whose_forms_have_no_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = find_site("example").path.read_text(encoding="utf-8")
    path = tmp_path / "batch.toml"
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("open_ondemand =")))
    assert main(["site", "ood", str(path), "--out", str(tmp_path / "app"), "--install", "/w"]) == 2
    assert "batch.toml offers no GPU through Open OnDemand" in capsys.readouterr().err
