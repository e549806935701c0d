#!/usr/bin/env bash
# The same cluster on another Slurm release, from another Debian suite in a chroot (root only; ~300 MB a suite).
#   other_release.sh bullseye|trixie|sid CMD...     20.11.4 | 24.11.5 | 26.05.5 (as Debian ships them)
# CMD runs in the chroot with SLURM_CONF set, in /srv of the chroot, where this folder's scripts were copied.
set -euo pipefail
mirror=$(apt-get indextargets --format '$(SITE)' | grep -v security | sort | uniq -c | sort -rn | awk 'NR==1{print $2}')  # the mirror this machine uses
here=$(cd "$(dirname "$0")" && pwd); suite=$1; shift; R=${SLURM_CHROOTS:-${TMPDIR:-/tmp}/slurm_chroots}/$suite
[ -x "$R/usr/sbin/slurmctld" ] || debootstrap --variant=minbase --include=slurm-wlm,slurm-client,slurmctld,slurmd,munge "$suite" "$R" "$mirror" >/dev/null
mkdir -p "$R/srv"; cp "$here"/*.sh "$R/srv/"; echo "127.0.0.1 localhost $(hostname)" > "$R/etc/hosts"
# a private mount namespace: the binds vanish with it
exec unshare --mount bash -c '
R=$1; shift; for m in proc dev sys; do mount --rbind /$m "$R/$m"; done
exec chroot "$R" bash -c "cd /srv; export SLURM_FIXTURE_NS=0 SLURM_FIXTURE_PORT=\${SLURM_FIXTURE_PORT:-18000} SLURM_CONF=/srv/fx/slurm.conf; rm -rf fx; ./cluster.sh start /srv/fx >/dev/null || exit 1; trap \"./cluster.sh stop /srv/fx\" EXIT; \"\$@\"" _ "$@"' _ "$R" "$@"
