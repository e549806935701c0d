"""Runs that come to a good end, with real ranks."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from launch_helpers import COMMAND, Marked

from workshop_utils.parallel.launch.environment import cores_here
from workshop_utils.parallel.launch.launcher import launch


def test_what_ranks_print_and_hand_back_arrives(
    write: Callable[..., Path], temporary: Path, marked: Marked, capsys: pytest.CaptureFixture[str]
) -> None:
    write("raise RuntimeError('a file of the reader came before the standard library')", "json.py")
    write("VALUE = 7", "beside.py")
    script = write(
        """
        import os, sys, time
        del sys.path[0]
        import json as standard
        sys.path.insert(0, os.path.dirname(__file__))
        import beside
        from workshop_utils.parallel.launch import notes

        rank = int(os.environ["RANK"])
        notes.say(stage="prefill")
        for step in range(3):
            notes.progress(step + 1, 3)
            time.sleep(0.2)
        print("a", "b", sys.argv[1:])
        print("10 %\\r100 %", file=sys.stderr)
        names = ("LOCAL_RANK", "WORLD_SIZE", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM",
                 "PYTHONUNBUFFERED", "KEPT", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
        notes.hand_back({"beside": beside.VALUE, "main": sys.argv[0] == __file__, "name": __name__,
                         **{name: os.environ.get(name) for name in names}})
        sys.stdout.write("no end")
        """
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEPT", "yes")
        result = launch("script.py", ["--text", "$$ ${local_rank}"], 2)
    assert script.exists()
    assert result.finished, result.message
    assert result.message.startswith("2 ranks finished in ")
    said = capsys.readouterr()
    for rank in (0, 1):
        lines = [line for line in said.out.splitlines() if line.startswith(f"[rank {rank}] ")]
        assert lines == [
            f"[rank {rank}] a b ['--text', '$$ ${{local_rank}}']", f"[rank {rank}] 100 %",
            f"[rank {rank}] no end",
        ]  # fmt: skip
    assert "prefill: 100%" in said.err
    assert [note.get("stage") for note in result.notes[1]] == ["prefill", None]
    for rank, measurement in enumerate(result.measurements):
        assert measurement == {
            "rank": rank, "beside": 7, "main": True, "name": "__main__", "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2", "OMP_NUM_THREADS": str(max(1, cores_here() // 2)), "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1", "KEPT": "yes",
            "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo",
        }  # fmt: skip
    assert len(result.measurements) == 2
    assert result.logs is None
    assert not list(temporary.iterdir())
    marked.wait_until_gone(1)


def test_two_runs_at_once_with_gloo_listen_on_the_loopback_interface_only(
    write: Callable[..., Path], marked: Marked
) -> None:
    write(
        """
        import os, sys, time
        import psutil
        import torch
        import torch.distributed as dist
        from workshop_utils.parallel.launch import notes

        dist.init_process_group("gloo")
        tensor = torch.tensor([float(sys.argv[1])])
        with notes.waiting("all_reduce"):
            dist.all_reduce(tensor)
        open(f"meets{sys.argv[1]}", "w")
        while not all(os.path.exists(name) for name in ("meets1", "meets10")):
            time.sleep(0.1)
        run = [psutil.Process(os.getppid()), *psutil.Process(os.getppid()).children()]
        sockets = [socket for process in run for socket in process.net_connections()]
        listening = [[one.laddr.ip, one.laddr.port] for one in sockets if one.status == "LISTEN"]
        notes.hand_back({"sum": tensor, "listening": listening})
        dist.barrier()
        dist.destroy_process_group()
        """
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", "--ranks", "2", "--json", "script.py", number],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in ("1", "10")
    ]  # fmt: skip
    said = [run.communicate(timeout=90) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    results = [json.loads(out) for out, _ in said]
    assert [[one["sum"] for one in result["measurements"]] for result in results] == [[2, 2], [20, 20]]
    assert {*results[0]} == {"outcome", "message", "ranks", "seconds", "measurements"}
    addresses = [tuple(pair) for result in results for pair in result["measurements"][0]["listening"]]
    assert len(set(addresses)) == len(addresses) >= 6  # a store and two ranks each
    assert {ip for ip, _ in addresses} == {"127.0.0.1"}
    marked.wait_until_gone(1)


def test_the_launcher_starts_without_torch() -> None:
    code = "import sys; import workshop_utils.parallel.run_command; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
