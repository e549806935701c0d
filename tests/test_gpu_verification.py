"""``make test-gpu`` without a GPU: its measuring on the CPU, two ranks over gloo, its report, its refusal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "gpu"
sys.path.insert(0, str(FOLDER))

import measuring  # noqa: E402
import report  # noqa: E402
import torch  # noqa: E402
import verify  # noqa: E402

CPU = torch.device("cpu")


def test_a_machine_without_a_gpu_is_one_sentence_and_exit_code_2() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU; make test-gpu verifies it")
    done = subprocess.run(
        [sys.executable, str(FOLDER / "verify.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no GPU to verify here: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_product_is_right_and_a_wrong_one_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measuring.product_error(CPU, 256) < verify.LARGEST_ERROR
    # One entry in a thousand dropped: a fault of a GPU that the check must see.
    real = torch.Tensor.__matmul__

    def faulty(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        result = real(left, right)
        if result.dtype != torch.float64:
            result[0, ::100] = 0
        return result

    monkeypatch.setattr(torch.Tensor, "__matmul__", faulty)
    assert measuring.product_error(CPU, 256) > verify.LARGEST_ERROR


def test_speeds_are_work_by_median_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "median_seconds", lambda work, device: (work(), 0.5)[1])
    assert measuring.product_tflops(CPU, 100) == pytest.approx(2 * 100**3 / 0.5 / 1e12)
    assert measuring.copy_gb_per_s(CPU, CPU, 1000) == pytest.approx(2 * 1000 / 0.5 / 1e9)
    other = torch.device("cpu", 0)
    assert measuring.copy_gb_per_s(CPU, other, 1000) == pytest.approx(1000 / 0.5 / 1e9)


def test_the_median_leaves_out_the_warm_up_and_one_slow_run(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = iter([9.0] + [1.0] * (measuring.REPEATS - 1))
    monkeypatch.setattr(measuring, "clocked", lambda work: next(durations))
    calls: list[int] = []
    assert measuring.median_seconds(lambda: calls.append(1), CPU) == 1.0
    assert len(calls) == measuring.WARM_UP


def test_two_ranks_add_up() -> None:
    if torch.cuda.is_available():
        pytest.skip("here the ranks would take GPUs; make test-gpu runs them")
    check, figures = verify.run_all_reduce(2, 2**20)
    assert check.passed, check.evidence
    assert figures[0].value > 0 and figures[0].unit == "GB/s"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (subprocess.CalledProcessError(1, "torchrun", stderr="noise\nncclError"), "exit code 1: ncclError"),
        (subprocess.TimeoutExpired("torchrun", 300), "no answer in 300 s"),
    ],
)  # fmt: skip
def test_a_failing_all_reduce_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(verify.subprocess, "run", fail)
    check, figures = verify.run_all_reduce(2, 1024)
    assert (check.passed, check.evidence, figures) == (False, said, [])


def test_the_report_holds_checks_figures_and_provenance(tmp_path: Path) -> None:
    checks = [
        report.Check("multiplies", True, "1e-3"),
        report.Check("gives memory back", False, "1 GiB kept"),
    ]
    figures = [report.Figure("product", 494.5, "TFLOP/s", 989), report.Figure("host", 50.0, "GB/s", None)]
    provenance = verify.provenance_of(verify.find_machine())
    content = json.loads(
        report.write_report(tmp_path, checks, figures, provenance).read_text(encoding="utf-8")
    )
    assert content["passed"] is False
    assert content["figures"][0] == {"name": "product", "value": 494.5, "unit": "TFLOP/s", "catalogue": 989}
    assert content["versions"]["torch"] and content["command"] == "make test-gpu" and content["date"]
    text = report.table(checks, figures, provenance)
    assert "FAILED  gives memory back: 1 GiB kept" in text
    assert "50%" in text
