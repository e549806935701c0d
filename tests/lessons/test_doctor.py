import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.hardware.machine import InstalledGpu, Machine
from workshop_utils.lessons import doctor, doctor_folders, doctor_machine
from workshop_utils.lessons.doctor import FAILED, OK, WARNING, Check, Report, guarded, run_doctor

GPU = InstalledGpu(0, "GPU-1", "NVIDIA H200", 150754820096, (9, 0), None)
SICK = InstalledGpu(1, "GPU-2", "NVIDIA H200", None, None, "GPU 1 fell off the bus")


def pretend(monkeypatch, build: tuple[str, str | None] | None, *gpus: InstalledGpu, cuda=(13, 0)) -> None:
    machine = Machine(gpus, None if gpus else "no driver here", "580.95.05", cuda)
    monkeypatch.setattr(doctor_machine, "machine", lambda: machine)
    monkeypatch.setattr(doctor_machine, "torch_build", lambda: build)


def test_every_part_is_checked_quickly_and_without_torch(own_home) -> None:
    started = time.monotonic()
    script = (
        "import sys; from workshop_utils.lessons.doctor import run_doctor; report = run_doctor(); "
        "assert 'torch' not in sys.modules; import json; print(json.dumps(report.as_json()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert list(checks) == [
        "Python", "torch", "GPUs", "job", "tier", "home", "cache folder", "library caches", "small model",
        "kernel", "panel",
    ]  # fmt: skip
    assert all(check["status"] in {OK, WARNING, FAILED} and check["sentence"] for check in checks.values())
    assert all(check["next_step"] for check in checks.values() if check["status"] != OK)
    assert checks["kernel"]["status"] == OK
    # Five seconds are promised on a quiet machine; it takes 0.6.
    assert time.monotonic() - started < 30


def test_the_tables(own_home) -> None:
    report = Report((Check("a", OK, "x < y"), Check("bc", FAILED, "broken", "mend it.")))
    assert str(report).splitlines() == ["✓ a   x < y", "✗ bc  broken", "      → mend it."]
    html = report._repr_html_()
    assert "x &lt; y" in html and "mend it." in html and "background" not in html
    assert report.failed and not Report((Check("a", WARNING, "b", "c"),)).failed


def test_exit_codes(monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        doctor_machine, "CHECKS", (("Python", lambda: Check("Python", WARNING, "old", "new")),)
    )
    monkeypatch.setattr(doctor_folders, "CHECKS", ())
    assert main(["doctor"]) == 0
    monkeypatch.setattr(
        doctor_machine, "CHECKS", (("Python", lambda: Check("Python", FAILED, "old", "new")),)
    )
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "failed": True,
        "checks": [{"name": "Python", "status": "failed", "sentence": "old", "next_step": "new"}],
    }


def test_a_check_that_breaks_hides_no_other() -> None:
    def broken() -> Check:
        raise OSError("stale file handle")

    assert guarded("home", broken).status == FAILED
    assert "stale file handle" in guarded("home", broken).sentence


@pytest.mark.parametrize(
    ("build", "gpus", "cuda", "status", "words"),
    [
        (None, (), None, FAILED, "not installed"),
        (("2.13.0+cpu", None), (), None, OK, "a CPU build"),
        (("2.13.0+cpu", None), (GPU,), (13, 0), WARNING, "cannot use the GPUs"),
        (("2.11.0", "13.0"), (GPU,), (13, 0), OK, "built for CUDA 13.0"),
        (("2.11.0", "13.0"), (GPU,), (12, 4), FAILED, "CUDA 12.4 at most"),
        (("2.11.0", "12.8"), (GPU,), (12, 4), OK, "built for CUDA 12.8"),
        (("2.11.0", "13.0"), (), None, OK, "built for CUDA 13.0"),
    ],
)
def test_torch_against_the_driver(monkeypatch, build, gpus, cuda, status, words) -> None:
    pretend(monkeypatch, build, *gpus, cuda=cuda)
    check = doctor_machine.check_torch()
    assert check.status == status and words in check.sentence


def test_the_installed_torch_is_read_without_importing_it() -> None:
    import torch

    assert doctor_machine.torch_build() == (torch.__version__, torch.version.cuda)


def test_gpus_and_tier(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pretend(monkeypatch, ("2.11.0", "13.0"))
    assert doctor_machine.check_gpus() == Check("GPUs", OK, "none: no driver here")
    assert doctor_machine.check_tier().sentence.startswith("cpu")
    pretend(monkeypatch, ("2.11.0", "13.0"), GPU, SICK)
    check = doctor_machine.check_gpus()
    assert check.status == WARNING and "fell off the bus" in check.sentence
    assert doctor_machine.check_tier().sentence.startswith("one_gpu")
    pretend(monkeypatch, ("2.11.0", "13.0"), GPU, GPU)
    assert doctor_machine.check_gpus().sentence == "2 × NVIDIA H200 (140.4 GiB); driver 580.95.05"
    assert doctor_machine.check_tier().sentence.startswith("multi_gpu")
    for visible, tier in (("1", "one_gpu"), ("", "cpu"), ("-1", "cpu"), ("0,1", "multi_gpu")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert doctor_machine.check_tier().sentence.startswith(tier)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    pretend(monkeypatch, ("2.11.0", "13.0"), GPU, cuda=(12, 4))
    assert doctor_machine.check_tier().sentence.startswith("cpu")
    pretend(monkeypatch, ("2.13.0", None), GPU, GPU)
    assert doctor_machine.check_tier().sentence.startswith("cpu")


def test_an_open_ondemand_session(own_home, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_EXPORT_ENV", "NONE")
    monkeypatch.setenv("PWD", "/home/alice/ondemand/data/sys/dashboard/batch_connect/sys/jupyter/output/1")
    check = doctor_machine.check_job()
    assert check.status == WARNING and check.sentence.startswith("Open OnDemand session, Slurm job 4711")
    assert "SLURM_EXPORT_ENV=ALL" in check.next_step


def test_caches_that_would_fill_the_home(own_home, monkeypatch, tmp_path) -> None:
    assert doctor_folders.check_library_caches().status == OK
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / "big"))
    check = doctor_folders.check_library_caches()
    assert check.status == WARNING and "HF_HUB_CACHE" in check.sentence
    for name in doctor_folders.VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / "big" / name))
    assert doctor_folders.check_library_caches().status == OK
    monkeypatch.setenv("TRITON_CACHE_DIR", str(own_home / ".triton"))
    assert doctor_folders.check_library_caches().sentence == "would go to your home: TRITON_CACHE_DIR"


def test_folders_that_cannot_be_written_fail(own_home, monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / "file" / "cache"))
    check = doctor_folders.check_cache()
    assert check.status == FAILED and "(Not a directory)" in check.sentence
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file" / "runtime"))
    assert doctor_folders.check_home().status == FAILED


def test_a_missing_model_is_a_warning_with_its_command(own_home) -> None:
    check = doctor_folders.check_small_model()
    assert check.status == WARNING and "workshop model prepare" in check.next_step


def test_a_kernel_of_another_environment_is_seen(own_home, monkeypatch, tmp_path) -> None:
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = {"argv": ["/bin/true", "-m", "ipykernel"], "display_name": "theirs", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    check = doctor_folders.check_kernel()
    assert check.status == WARNING and "/bin/true" in check.sentence


def test_a_panel_that_jupyter_does_not_find(own_home, monkeypatch) -> None:
    import jupyter_core.paths

    assert doctor_folders.check_panel().status == OK
    monkeypatch.setattr(jupyter_core.paths, "jupyter_path", lambda *_: ["/nowhere"])
    monkeypatch.setattr(jupyter_core.paths, "jupyter_config_path", lambda: ["/nowhere"])
    check = doctor_folders.check_panel()
    assert check.status == WARNING
    assert "labextension workshop-monitor" in check.sentence and "server extension" in check.sentence


@pytest.mark.parametrize(
    "text", ["", "[]", '{"ServerApp": []}', '{"ServerApp": {"jpserver_extensions": {}}}']
)
def test_other_configuration_files_switch_nothing_on(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert not doctor_folders.enables_server_extension(tmp_path / "a.json")


def test_doctor_names_its_statuses() -> None:
    assert set(doctor.SIGNS) == set(doctor.COLOURS) == {OK, WARNING, FAILED}
    assert {check.status for check in run_doctor().checks} <= set(doctor.SIGNS)
