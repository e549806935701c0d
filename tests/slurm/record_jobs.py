"""Real jobs of every end, and what sacct, sstat and squeue say of them: ``answers/RELEASE-jobs.json``.

Run by ``record_releases.sh``, in a cluster of the nodes rec1 and rec2 with accounts and, where there are
cgroups, memory limits.
"""

import subprocess
import time
from typing import Any

from tests.slurm.recording import recorded_case, write
from workshop_utils.cluster import submit
from workshop_utils.cluster.job_usage import job_usage
from workshop_utils.cluster.nodes_step import job_node_names
from workshop_utils.cluster.partitions import ask_partitions

# A step that holds 60 MB, and keeps one of its two cores busy; and one that wants more memory than it has.
WORK = """srun -c 2 bash <<'END'
x=$(head -c 60000000 /dev/zero | tr '\\0' x)
end=$((SECONDS + 4)); while ((SECONDS < end)); do :; done
END"""
TOO_MUCH = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 1"
# Options and command of each job, by the name of its case.
JOBS = {
    "completed": ("--gres=gpu:a40:1 -c 2 --mem=1G -t 10", WORK),
    "failed": ("--mem=100M -t 10", "exit 3"),
    "signalled": ("--mem=100M -t 10", "kill -9 $$"),
    "memory": ("--gres=gpu:a40:1 --mem=50M -t 10", TOO_MUCH),
    "memory_in_a_step": ("--mem=50M -t 10", f"srun bash <<'END'\n{TOO_MUCH}\nEND"),
    "memory_in_a_step_before_others": ("--mem=50M -t 10", f"srun bash <<'END'\n{TOO_MUCH}\nEND\ntrue"),
    "timeout": ("--mem=100M -t 1", "sleep 300"),
    "two_nodes": ("-N 2 --ntasks-per-node=1 --gres=gpu:a40:2 --mem=200M -t 1-2", "srun sleep 1"),
    "any_gpu": ("--gres=gpu:1 --mem=100M", "true"),
    "memory_of_a_core": ("-c 2 --mem-per-cpu=100M", "true"),
    "memory_unasked": ("-c 1", "true"),
    "memory_of_a_node": ("--mem=0", "true"),
    "bar_in_its_name": ("--mem=100M --job-name=a|b", "true"),
}
LONG = ("--gres=gpu:a40:1 -c 2 --mem=1G -t 10", "srun -c 2 bash -c 'while :; do :; done'")


def submitted(options: str, command: str) -> str:
    """Submit a job; returns its number."""
    words = ["sbatch", "--parsable", "-p", "gpu", "-A", "mygroup", "-o", "/dev/null", *options.split()]
    script = f"#!/bin/bash\n{command}\n"
    done = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (options, done.stderr)
    return done.stdout.strip()


def wait(job: str, *states: str) -> None:
    """Wait until a job is in one of the states, and the accounts know."""
    for _ in range(600):
        if {each.state for each in submit.job_states(job)} <= set(states):
            break
        time.sleep(0.2)
    else:
        raise AssertionError(f"job {job} is {submit.job_states(job)}, not {states}")
    known = ["sacct", "--noheader", f"--jobs={job}", "--format=JobID"]
    while not subprocess.run(known, capture_output=True, text=True, check=True).stdout:
        time.sleep(0.5)
    time.sleep(2.5)  # for its end


def asked(job: str) -> dict[str, Any]:
    """Return what is said of a job: of its use, then of its state."""
    return recorded_case(lambda: job_usage(job), lambda: submit.job_states(job), job=job)


def scontrol(*words: str) -> None:
    subprocess.run(["scontrol", *words], check=True)


def while_it_runs() -> dict[str, Any]:
    """Return the cases of jobs that wait, run and are suspended, and that somebody or a node ends."""
    cases = {}
    waiting = submitted(f"{LONG[0]} --begin=now+1hour", LONG[1])
    wait(waiting, "PENDING")
    cases["pending"] = asked(waiting)
    running = submitted(*LONG)
    wait(running, "RUNNING")
    time.sleep(2)
    cases["running"] = asked(running)
    cases["nodes_of_a_job"] = recorded_case(lambda: job_node_names(running), job=running)
    scontrol("suspend", running)
    wait(running, "SUSPENDED")
    cases["suspended"] = asked(running)
    scontrol("resume", running)
    for name, job in (("cancelled", running), ("cancelled_before_it_ran", waiting)):
        cases[f"cancel_{name}"] = recorded_case(lambda job=job: submit.cancel(job), job=job)  # type: ignore[misc]
        wait(job, "CANCELLED")
        cases[name] = asked(job)
    lost = submitted("--mem=100M --no-requeue -w rec2", "sleep 200")
    wait(lost, "RUNNING")
    scontrol("update", "nodename=rec2", "state=down", "reason=test")
    wait(lost, "NODE_FAIL")
    return {**cases, "node_fail": asked(lost)}


def an_array() -> dict[str, Any]:
    """Return the cases of an array, of which the second job fails, while it runs and later."""
    array = submitted("--array=0-1 --mem=100M -t 10", "srun sleep 20; exit $SLURM_ARRAY_TASK_ID")
    second = f"{array}_1"
    wait(array, "RUNNING")
    wait(second, "RUNNING")
    cases = {"array_running": asked(second)}
    wait(array, "COMPLETED", "FAILED")
    return {**cases, "array": asked(array), "array_second": asked(second)}


def record() -> None:
    """Run the jobs and write all cases."""
    cases = {
        "partitions": recorded_case(ask_partitions),
        "unknown": asked("987654"),
        "cancel_unknown": recorded_case(lambda: submit.cancel("987654")),
    }
    watched = submitted("--mem=100M -t 10 --begin=now+5", "sleep 3")
    cases["watched"] = recorded_case(lambda: list(submit.watch(watched, every_s=1)), job=watched)
    jobs = {name: submitted(*job) for name, job in JOBS.items()}
    for name, job in jobs.items():
        wait(job, *submit.OVER)
        cases[name] = asked(job)
    cases |= an_array() | while_it_runs()
    write("jobs", cases=cases)


if __name__ == "__main__":
    record()
