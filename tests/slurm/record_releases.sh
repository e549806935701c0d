#!/usr/bin/env bash
# What four releases of Slurm answer, for tests/cluster/answers (root only; a quarter of an hour; 4 GB in /tmp):
#   tests/slurm/record_releases.sh [SUITE...]      from the repository's root; suites as in other_release.sh
set -euo pipefail
python=${PYTHON:-.venv/bin/python}; suites=("$@"); [ $# -gt 0 ] || suites=(bullseye bookworm trixie sid)
export ACCT=1
# Names of their own: cgroups are called after nodes, and other tests' clusters may run.
nodes=$'rec1:a40:4:4:8000:a40:gpu\nrec2:a40:4:4:8000:a40:gpu\nrec3:rtx3090:1:2:8000:rtx3090:interactive'
for suite in "${suites[@]}"; do
  CGROUP=1 SLURM_FIXTURE_NODES=$nodes tests/slurm/other_release.sh "$suite" "$python" -m tests.slurm.record_jobs
  for site in uva example; do (
    eval "$("$python" tests/slurm/site_nodes.py "$site")"
    tests/slurm/other_release.sh "$suite" "$python" -m tests.slurm.record_requests "$site"
  ); done
  SLURM_FIXTURE_NODES=$nodes tests/slurm/other_release.sh "$suite" "$python" -m tests.slurm.record_silence
done
