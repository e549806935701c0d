"""What cannot be run is said in one sentence, and what a kernel holds of the GPUs in another: no ranks."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from launch_helpers import Marked, wait_until

from workshop_utils import cli
from workshop_utils.errors import WorkshopError
from workshop_utils.measure.bench_memory_machine import BenchMachine
from workshop_utils.parallel.launch import request
from workshop_utils.parallel.launch.environment import cores_here, run_environment
from workshop_utils.parallel.launch.gpu_held import gpu_memory_held_here
from workshop_utils.parallel.launch.run_folder import RunFolder


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = {"cpu": BenchMachine("cpu", 0, None, None, "a CPU", None)}
    gpus = BenchMachine("cuda", 2, None, None, "2 × H100", None)
    monkeypatch.setattr(request, "bench_machine", lambda device: machines.get(device, gpus))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--ranks", "2", "missing.py"], "there is no script missing.py in "),
        (["--ranks", "2", "."], ". is no file; give the path of a Python file."),
        (["--ranks", "0", "script.py"], "0 ranks cannot run on this CPU; give 1 to "),
        (["--ranks", "9999", "script.py"], "9999 ranks cannot run on this CPU; give 1 to "),
        (["--ranks", "1", "--timeout", "0", "script.py"], "a time-out of 0 s is none; give seconds"),
        (["--ranks", "1", "--timeout", "nan", "script.py"], "a time-out of nan s is none; give seconds"),
        (["--ranks", "1", "--device", "cuda", "script.py"], "there is no GPU to measure on ("),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    write: Callable[..., Path], temporary: Path, marked: Marked, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], words: list[str], told: str,
) -> None:  # fmt: skip
    write("open('started', 'w')")
    monkeypatch.setitem(cli.COMMANDS, "run", ("workshop_utils.parallel.run_command", "run"))
    assert cli.main(["run", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"workshop run: {told}")
    assert said.err.count("\n") == 1
    assert not Path("started").exists()
    assert not list(temporary.iterdir())


def test_the_help_has_an_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(cli.COMMANDS, "run", ("workshop_utils.parallel.run_command", "run"))
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    said = capsys.readouterr().out
    assert "example: workshop run --ranks 2 " in said
    assert "how many ranks to start on each node" in said
    assert '{"outcome", "message", "ranks", "seconds", "measurements"}' in said


def test_a_rank_has_a_gpu_of_its_own(two_gpus: None, write: Callable[..., Path]) -> None:
    script = write("")
    asked = request.check_request("script.py", ["a", "1"], 2, None, 5)
    assert asked == request.RunRequest(script, ("a", "1"), 2, "cuda", 5)
    with pytest.raises(
        WorkshopError, match=r"^3 ranks cannot run on 2 × H100; give 1 to 2, one a GPU, or --dev"
    ):
        request.check_request(script, (), 3, None, 5)
    assert request.check_request(script, (), 3, "cpu", 5).device == "cpu"


def test_the_environment_keeps_what_is_there_and_hides_gpus_from_ranks_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    first, second = (run_environment(RunFolder(tmp_path), 10_000, device) for device in ("cuda", "cpu"))
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("2,3", "")
    assert first["OMP_NUM_THREADS"] == "1"
    assert first["NCCL_SOCKET_IFNAME"] in {"lo", "lo0"}
    assert first["TORCH_NCCL_SHOW_EAGER_INIT_P2P_SERIALIZATION_WARNING"] == "false"
    assert first["PATH"] == os.environ["PATH"]
    assert first["WORKSHOP_RUN_ID"] != second["WORKSHOP_RUN_ID"]
    alone = run_environment(RunFolder(tmp_path), 1, "cpu")
    assert alone["OMP_NUM_THREADS"] == str(cores_here())


def fake_torch(started: bool, *reserved: int) -> SimpleNamespace:
    cuda = SimpleNamespace(
        is_initialized=lambda: started,
        device_count=lambda: len(reserved),
        memory_reserved=reserved.__getitem__,
    )
    return SimpleNamespace(cuda=cuda)


def test_what_this_process_holds_of_the_gpus_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert gpu_memory_held_here() is None
    monkeypatch.setitem(sys.modules, "torch", fake_torch(False, 1))
    assert gpu_memory_held_here() is None
    monkeypatch.setitem(sys.modules, "torch", fake_torch(True, 0, 0))
    assert (gpu_memory_held_here() or "").startswith("this process has a CUDA context on a GPU")
    monkeypatch.setitem(sys.modules, "torch", fake_torch(True, 3 * 2**30, 0, 2**30))
    assert (gpu_memory_held_here() or "").startswith(
        "this process itself holds 3.0 GiB of GPU 0, 1.0 GiB of GPU 2,"
    )


CHILD = """
import os, sys, time
from workshop_utils.parallel.launch.parent_death import end_with
import signal
sys.platform = sys.argv[1]
end_with(int(sys.argv[2]), signal.SIGKILL)
open("ready", "w")
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "child.py", sys.argv[1], str(os.getpid())])
time.sleep(600)
"""


@pytest.mark.parametrize("platform", [sys.platform, "another"])
def test_a_process_ends_with_its_parent(write: Callable[..., Path], marked: Marked, platform: str) -> None:
    write(CHILD, "child.py")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, platform])
    wait_until(lambda: Path("ready").exists())
    assert len(marked.processes()) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    marked.wait_until_gone(5)


@pytest.mark.parametrize("platform", [sys.platform, "another"])
def test_a_process_whose_parent_has_gone_already_ends_at_once(
    write: Callable[..., Path], marked: Marked, platform: str
) -> None:
    write(CHILD, "child.py")
    done = subprocess.run([sys.executable, "child.py", platform, "1"], check=False, timeout=20)
    assert done.returncode == -signal.SIGKILL
