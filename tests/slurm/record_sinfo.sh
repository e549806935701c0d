#!/usr/bin/env bash
# What `workshop gpus` reads, from a cluster in which jobs hold GPUs, one holds all cores and a node is drained:
#   record_sinfo.sh        (in a cluster that cluster.sh started; other_release.sh SUITE tests/slurm/record_sinfo.sh)
set -euo pipefail
sbatch -p gpu --gres=gpu:a40:3 --cpus-per-task=4 --mem=100G --wrap "sleep 60" >/dev/null
sbatch -p gpu --gres=gpu:v100:1 -c 36 --mem=10G --wrap "sleep 60" >/dev/null
sbatch -p gpu --gres=gpu:a6000:2 -c 2 --mem=240G --wrap "sleep 60" >/dev/null
scontrol update nodename=udc-an34-2 state=drain reason="bad fan, ticket 42"
sleep 3
sinfo --Node --noheader --Format="NodeList:128,Partition:128,StateLong:64,CPUsState:64,Memory:32,AllocMem:32,Gres:512,GresUsed:512,Features:1024,Reason:256"
