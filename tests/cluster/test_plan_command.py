"""``workshop plan`` as a reader runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.running import missing, running_cluster
from workshop_utils.cli import main
from workshop_utils.monitor.plan import plan_file, read_plan

KEYS = {
    "gpu", "nodes", "gpus_per_node", "layout", "dtype", "per_gpu_bytes", "expected_tokens_per_s", "range",
    "certainty", "why", "sbatch",
}  # fmt: skip
GEMMA = ["plan", "gemma-3-27b", "--tokens", "32768", "--site", "uva", "--no-queue"]


def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GEMMA, "--prompts", "200", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["site"] == "uva"
    for plan in found["plans"]:
        assert plan.keys() >= KEYS
        assert plan["layout"].keys() >= {"dp", "pp", "tp"}
        assert len(plan["per_gpu_bytes"]) == plan["nodes"] * plan["gpus_per_node"]
        assert max(plan["per_gpu_bytes"]) <= plan["usable_bytes"]
        low, high = plan["range"]
        assert low < plan["expected_tokens_per_s"] < high
        assert plan["certainty"] in ("measured", "assumed")
        assert f"#SBATCH --nodes={plan['nodes']}" in plan["sbatch"] or "--array" in plan["sbatch"]
    for refused in found["refused"]:
        assert refused.keys() >= {"gpu", "layout", "reason", "nearest"}
        assert refused["reason"] and refused["nearest"]
    reasons = {(each["gpu"], each["dtype"]): each["reason"] for each in found["refused"]}
    assert "no bfloat16" in reasons["V100", "bfloat16"]
    assert "no bfloat16" in reasons["RTX 2080 Ti", "bfloat16"]


def test_the_text_names_plans_reasons_and_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GEMMA, "--prompts", "200", "--deadline", "24"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("gemma-3-27b, 200 prompts of 32,768 tokens of which 512 are the answer, within 24")
    assert "1. One A40 holds it whole in nf4" in text
    assert "What does not work, and the nearest that does:" in text
    words = " ".join(text.split())
    assert "instead float16, where the model keeps to its range." in words
    asked = "--tokens 32768 --prompts 200 --deadline 24.0 --engine transformers --site uva --plan 1"
    assert f"`workshop request gemma-3-27b {asked}`" in words
    assert max(map(len, text.splitlines())) <= 130


def test_a_model_that_fits_nowhere_ends_with_one_and_says_by_how_much(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["plan", "deepseek-v3", "--tokens", "4096", "--site", "uva", "--gpu", "rtx 3090", "--no-queue"]
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "Nothing works." in text
    # bitsandbytes leaves experts in 16 bits, so that fewer bits save next to nothing here.
    assert "Closest is RTX 3090, TP 2, bfloat16, which lacks 6" in text
    assert "such GPUs together would hold deepseek-v3" in " ".join(text.split())
    assert "fewer tokens, a smaller batch, fewer bits or a smaller model" in " ".join(text.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--site", "nowhere"], "site 'nowhere' is neither one that ships (example, uva) nor a file"),
        (["--site", "uva", "--gpu", "h300"], "site uva has no GPU 'h300'; choose one of H200, A100-80GB"),
        (["--site", "uva", "--torch-build", "cu1"], "torch build 'cu1' is not known; choices: cu126"),
        (["--site", "uva", "--tokens", "0"], "tokens 0 is out of range"),
        (["--site", "uva", "--deadline", "-1"], "a deadline in -1 hours is none"),
        (["--site", "uva", "--engine", "megatron"], "choices: transformers, vllm"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "llama-3.1-8b", "--no-queue", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_it_answers_without_torch() -> None:
    code = (
        "import sys; from workshop_utils.cli import main; "
        "main(['plan', 'llama-3.1-8b', '--site', 'uva', '--no-queue', '--json']); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_on_a_real_cluster_plans_say_what_is_free(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    with running_cluster(tmp_path) as environment:
        words = [sys.executable, "-m", "workshop_utils", "plan", "llama-3.1-8b", "--site", "uva", "--json"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True)
    free = {
        plan["gpu"]: plan["starts_now"] for plan in json.loads(done.stdout)["plans"] if plan["nodes"] == 1
    }
    assert free["A40"] is True
    assert free["L40S"] is False  # the test cluster has none
    assert "queue" not in done.stderr


def test_a_slurm_that_does_not_answer_costs_only_the_queue(tmp_path: Path) -> None:
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    (tmp_path / "sinfo").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = [sys.executable, "-m", "workshop_utils", "plan", "llama-3.1-8b", "--site", "uva"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "planned without the queue: sinfo failed: Unable to contact slurm controller" in done.stderr
    assert "1 × " in done.stdout


def test_a_deadline_that_nothing_keeps_is_said_at_the_top(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "llama-3.1-8b", "--tokens", "8192", "--prompts", "100000", "--deadline", "1"]
    assert main([*words, "--site", "uva", "--no-queue"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "No plan surely keeps 1 h; the fastest is 32 × A100-80GB" in text
    assert " 1 32 × A100-80GB" in text


def test_slurms_name_of_a_type_means_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GEMMA, "--gpu", "A100", "--dtype", "bf16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["gpu"] for each in found["plans"]} == {"A100-80GB", "A100-40GB"}
    assert {each["dtype"] for each in found["plans"]} == {"bfloat16"}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    return folder


@pytest.mark.parametrize(("option", "number"), [(["--to-panel"], 1), (["--to-panel", "3"], 3)])
def test_a_plan_goes_to_the_panel(
    option: list[str], number: int, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "llama-3.1-70b", "--tokens", "8192", "--site", "uva", "--no-queue"]
    assert main([*words, "--dtype", "bf16", "--json", *option]) == 0
    printed = capsys.readouterr()
    chosen = json.loads(printed.out)["plans"][number - 1]
    file = plan_file()
    assert file.stat().st_mode & 0o777 == 0o600
    drawn = read_plan(file)
    assert drawn is not None
    assert [sum(term.bytes for term in terms) for terms in drawn.gpus] == chosen["per_gpu_bytes"]
    gpus = chosen["nodes"] * chosen["gpus_per_node"]
    assert drawn.title.startswith(f"llama-3.1-70b, {gpus} × {chosen['gpu']}, ")
    where = {1: "GPU 0", 2: "GPUs 0 and 1"}.get(gpus, f"GPUs 0 to {gpus - 1}")
    assert printed.err.startswith(f"Plan {number}: {drawn.title}: JupyterLab's panel on this machine shows")
    assert printed.err.endswith(f" on {where}.\n")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ("0", "there is no plan 0; choose 1 to "),
        ("1000", "there is no plan 1000; choose 1 to "),
        ("-1", "there is no plan -1; choose 1 to "),
    ],
)
def test_a_number_that_is_no_plan_is_one_sentence(
    number: str, sentence: str, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*GEMMA, "--to-panel", number]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert not plan_file().exists()


def test_where_nothing_works_nothing_is_drawn(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "deepseek-v3", "--tokens", "4096", "--site", "uva", "--gpu", "rtx 3090", "--no-queue"]
    assert main([*words, "--to-panel"]) == 1
    assert "Nothing works, so nothing is drawn in the panel." in capsys.readouterr().err
    assert not plan_file().exists()


def test_a_model_behind_the_option_is_told_where_it_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["plan", "--to-panel", "gemma-3-27b", "--site", "uva"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "'gemma-3-27b' is not the number of a plan; write --to-panel behind the model" in said
    assert said.count("\n") == 1
