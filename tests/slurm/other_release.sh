#!/usr/bin/env bash
# The same cluster on another Slurm release, from another Debian suite in a chroot (root only; ~1 GB a suite).
#   other_release.sh bullseye|bookworm|trixie|sid CMD...     20.11.4 | 22.05.8 | 24.11.5 | 26.05.5 (as Debian ships them)
# CMD runs here with that release's sbatch, sacct, ... first on its PATH; jobs run in the chroot, in its /srv/jobs.
# The variables of cluster.sh hold here, too (ACCT=1, CGROUP=1, SLURM_FIXTURE_NODES, ...). Needs debootstrap.
set -euo pipefail
mirror=$(apt-get indextargets --format '$(SITE)' | grep -v security | sort | uniq -c | sort -rn | awk 'NR==1{print $2}')  # the mirror this machine uses
here=$(cd "$(dirname "$0")" && pwd); suite=$1; shift; R=${SLURM_CHROOTS:-${TMPDIR:-/tmp}/slurm_chroots}/$suite
packages=slurm-wlm,slurm-client,slurmctld,slurmd,munge,slurmdbd,mariadb-server
[ "$suite" = bullseye ] || packages+=,slurm-wlm-mysql-plugin    # a package of its own since Debian 12
[ -x "$R/usr/sbin/slurmdbd" ] || debootstrap --variant=minbase --include="$packages" "$suite" "$R" "$mirror" >/dev/null
mkdir -p "$R/srv/jobs" "$R/srv/programs"; cp "$here"/cluster.sh "$R/srv/"; echo "127.0.0.1 localhost $(hostname)" > "$R/etc/hosts"
for program in sbatch squeue sacct sstat sinfo scontrol scancel sacctmgr srun; do
  printf '#!/bin/sh\nexec chroot "%s" env -C /srv/jobs %s "$@"\n' "$R" "$program" > "$R/srv/programs/$program"
  chmod +x "$R/srv/programs/$program"
done
export SLURM_FIXTURE_NS=0 SLURM_FIXTURE_PORT=${SLURM_FIXTURE_PORT:-18000} SLURM_CONF=/srv/fx/slurm.conf
# a private mount namespace: the binds vanish with it
exec unshare --mount bash -c '
R=$1; shift; for m in proc dev sys; do mount --rbind /$m "$R/$m"; done
cluster() { chroot "$R" env -C /srv ./cluster.sh "$1" /srv/fx; }
rm -rf "$R/srv/fx"; trap "cluster stop" EXIT; cluster start >"$R/srv/start.log" 2>&1 || { cat "$R/srv/start.log" >&2; exit 1; }
# what a client reads where the daemons are away, and where there are no accounts
sed "s/^SlurmctldPort=.*/SlurmctldPort=1/; s/^AccountingStoragePort=.*/AccountingStoragePort=1/; 1iMessageTimeout=2" "$R/srv/fx/slurm.conf" > "$R/srv/fx/away.conf"
sed "/^Accounting/d" "$R/srv/fx/slurm.conf" > "$R/srv/fx/no_accounts.conf"
PATH=$R/srv/programs:$PATH "$@"' _ "$R" "$@"
