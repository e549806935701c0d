#!/usr/bin/env bash
# A throw-away single-machine Slurm cluster for tests.
#   cluster.sh start [DIR]   start munged (+ mariadbd + slurmdbd with ACCT=1) + slurmctld + N slurmd
#   cluster.sh stop  [DIR]   stop what start started (by PID), remove nothing but pid files
#   cluster.sh env   [DIR]   print the exports a client needs
#   CGROUP=1 (root, cgroup v1): real ConstrainDevices + ConstrainRAMSpace, so CUDA_VISIBLE_DEVICES is renumbered from 0,
#   other jobs' GPU devices are refused and memory over-use is OOM-killed, as on a real cluster
# No systemd, nothing under /etc or /var, every daemon bound to 127.0.0.1, runs as the calling user.
# Needs Debian: slurm-wlm slurmctld slurmd slurm-client munge (ACCT=1: slurmdbd slurm-wlm-mysql-plugin mariadb-server)
set -euo pipefail
cmd=${1:?start|stop|env}; DIR=$(realpath -m "${2:-${SLURM_FIXTURE_DIR:-${TMPDIR:-/tmp}/slurm_fixture}}")
ACCT=${ACCT:-0}; CGROUP=${CGROUP:-0}; BASE=${SLURM_FIXTURE_PORT:-17000}
SB=/usr/sbin; ME=$(id -un)
HOST=$(hostname -s)
NS=${SLURM_FIXTURE_NS:-auto}; [ "$NS" = auto ] && { unshare --uts --mount true 2>/dev/null && NS=1 || NS=0; }
# Both lists can be made from a site file: site_nodes.py.
# name:minutes:most nodes of a job:default (YES or NO):most GPUs of a job (with ACCT=1, by a QOS of that name)
PARTITIONS=${SLURM_FIXTURE_PARTITIONS:-"
gpu:4320:4:NO:32
interactive:720:2:NO:
"}
# name:gres-type:gpus:cpus:memMB:features:partition   (the shape of UVA's gpu partition, small)
NODES=${SLURM_FIXTURE_NODES:-"
udc-an25-16:a6000:8:48:256000:a6000:gpu
udc-an28-1:a100:8:128:1000000:a100,a100_40gb:gpu
udc-an34-1:a100:8:128:2000000:a100,a100_80gb,gpupod:gpu
udc-an34-2:a100:8:128:2000000:a100,a100_80gb,gpupod:gpu
udc-an34-3:a100:8:128:2000000:a100,a100_80gb,gpupod:gpu
udc-an34-4:a100:8:128:2000000:a100,a100_80gb,gpupod:gpu
udc-an34-5:a100:8:128:2000000:a100,a100_80gb,gpupod:gpu
udc-an38-1:a40:8:96:1500000:a40:gpu
udc-an33-37:v100:4:36:384000:v100:gpu
udc-an40-1:h200:8:96:2000000:h200:gpu
udc-an26-1:rtx3090:4:32:256000:rtx3090:interactive
"}
# a zombie (an init that reaps late) counts as gone
alive() { [ -e "/proc/$1/status" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }
q() { "$@" >/dev/null 2>&1; }
wait_for() { local n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 150 ] && { echo "timeout: $*" >&2; return 1; }; sleep 0.1; done; }
envs() { echo "export SLURM_CONF=$DIR/slurm.conf"; }

write_conf() {
  mkdir -p "$DIR"/{munge,ctld,spool,log,run,dev}; chmod 700 "$DIR/munge"; chmod 755 "$DIR"
  [ -s "$DIR/munge/key" ] || (umask 077; head -c 128 /dev/urandom > "$DIR/munge/key")
  local nodes="" partitions="" tres="gres/gpu" port=$((BASE+10)) i
  local -A members=()
  : > "$DIR/gres.conf"; cp /etc/hosts "$DIR/hosts"
  while IFS=: read -r name type n cpus mem feat part; do
    [ -n "$name" ] || continue
    echo "127.0.0.1 $name" >> "$DIR/hosts"
    nodes+="NodeName=$name NodeHostname=$([ $NS = 1 ] && echo "$name" || echo "$HOST") NodeAddr=127.0.0.1 Port=$port CPUs=$cpus RealMemory=$mem Gres=gpu:$type:$n Feature=$feat State=UNKNOWN"$'\n'
    # fake devices: symlinks to /dev/null. slurmd insists on a character device ("is not a valid character or block
    # device, fix your gres.conf"); a symlink to one passes and needs no root.
    mkdir -p "$DIR/dev/$name" "$DIR/spool/$name"
    for ((i=0;i<n;i++)); do
      if [ "$CGROUP" = 1 ]; then [ -e "$DIR/dev/$name/nvidia$i" ] || mknod "$DIR/dev/$name/nvidia$i" c 195 "$i"  # own numbers, else /dev/null is refused
      else ln -sfn /dev/null "$DIR/dev/$name/nvidia$i"; fi
    done
    echo "NodeName=$name Name=gpu Type=$type Flags=nvidia_gpu_env File=$DIR/dev/$name/nvidia[0-$((n-1))]" >> "$DIR/gres.conf"
    members[$part]+=",$name"
    [[ ",$tres," == *",gres/gpu:$type,"* ]] || tres+=",gres/gpu:$type"
    port=$((port+1))
  done <<< "$NODES"
  while IFS=: read -r name minutes most default _; do
    [ -n "$name" ] && [ -n "${members[$name]:-}" ] || continue
    partitions+="PartitionName=$name Nodes=${members[$name]#,} MaxTime=$minutes DefaultTime=60 MaxNodes=$most Default=$default State=UP"$'\n'
  done <<< "$PARTITIONS"
  local acct="AccountingStorageType=accounting_storage/none"; [ "$ACCT" = 1 ] && acct="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((BASE+1))
AccountingStoragePass=$DIR/munge/socket
AccountingStorageTRES=$tres
AccountingStorageEnforce=limits,qos,associations"
  cat > "$DIR/slurm.conf" <<C
ClusterName=fake
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$BASE
SlurmUser=$ME
SlurmdUser=$ME
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$DIR/ctld
SlurmdSpoolDir=$DIR/spool/%n
SlurmctldPidFile=$DIR/run/slurmctld.pid
SlurmdPidFile=$DIR/run/slurmd-%n.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd-%n.log
$([ "$CGROUP" = 1 ] && printf 'ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\nJobAcctGatherType=jobacct_gather/cgroup\nPrologFlags=Contain' || printf 'ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/linux')
JobAcctGatherFrequency=task=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
GresTypes=gpu
SwitchType=switch/none
DefMemPerCPU=6144
KillWait=2
MinJobAge=300
EnforcePartLimits=ALL
$acct
$nodes
$partitions
C
  if [ "$CGROUP" = 1 ]; then
    printf 'CgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\nConstrainDevices=yes\n' > "$DIR/cgroup.conf"
    case $($SB/slurmctld -V) in *" 20."*) ;; *) echo CgroupPlugin=cgroup/v1 >> "$DIR/cgroup.conf";; esac  # a key since 21.08
  fi
  # Slurm >= 23.11 loads a cgroup plugin even for proctrack/linuxproc; older releases refuse the word "disabled"
  [ "$CGROUP" = 1 ] || case $($SB/slurmctld -V) in *" 20."*|*" 21."*|*" 22."*|*" 23.02"*) ;; *) echo CgroupPlugin=disabled > "$DIR/cgroup.conf";; esac
  if [ "$ACCT" = 1 ]; then
    (umask 077; cat > "$DIR/slurmdbd.conf" <<C
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((BASE+1))
SlurmUser=$ME
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((BASE+2))
StorageUser=slurm
StoragePass=fixture
StorageLoc=slurm_acct
C
    )
  fi
}

# Each slurmd in its own UTS + mount namespace when allowed (root): `hostname` in a job is then the node's name and
# every node name resolves to 127.0.0.1 (torchrun --rdzv-endpoint, MASTER_ADDR). Otherwise plain -N (hostname = the host's).
slurmd_start() {
  if [ "$NS" = 1 ]; then
    unshare --uts --mount bash -c 'hostname "$1"; mount --bind "$2/hosts" /etc/hosts; exec '"$SB"'/slurmd -N "$1"' _ "$1" "$DIR" >>"$DIR/log/slurmd.stderr" 2>&1
  else $SB/slurmd -N "$1" >>"$DIR/log/slurmd.stderr" 2>&1; fi
}
start() {
  local t0=${EPOCHREALTIME/./}
  write_conf; eval "$(envs)"
  $SB/munged --force --key-file="$DIR/munge/key" --socket="$DIR/munge/socket" --pid-file="$DIR/run/munged.pid" \
     --log-file="$DIR/log/munged.log" --seed-file="$DIR/munge/seed" 2>>"$DIR/log/munged.stderr"
  if [ "$ACCT" = 1 ]; then
    if [ ! -d "$DIR/mysql/mysql" ]; then
      q mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db --datadir="$DIR/mysql" --user="$ME"; fi
    $SB/mariadbd --no-defaults --user="$ME" --datadir="$DIR/mysql" --socket="$DIR/run/mysql.sock" --port=$((BASE+2)) \
      --bind-address=127.0.0.1 --pid-file="$DIR/run/mariadbd.pid" --innodb-flush-log-at-trx-commit=0 \
      --innodb-buffer-pool-size=64M --skip-name-resolve >"$DIR/log/mariadbd.log" 2>&1 &
    wait_for mariadb --no-defaults -S "$DIR/run/mysql.sock" -u root -e 'select 1'
    mariadb --no-defaults -S "$DIR/run/mysql.sock" -u root -e "create database if not exists slurm_acct; create user if not exists slurm@'127.0.0.1' identified by 'fixture'; grant all on slurm_acct.* to slurm@'127.0.0.1'; flush privileges"
    SLURM_CONF="$DIR/slurm.conf" $SB/slurmdbd >>"$DIR/log/slurmdbd.stderr" 2>&1
    wait_for sacctmgr -n list cluster
    q sacctmgr -i add cluster fake || true
    q sacctmgr -i add account mygroup Description=test Organization=test || true
    q sacctmgr -i add user "$ME" account=mygroup || true
  fi
  $SB/slurmctld -c >>"$DIR/log/slurmctld.stderr" 2>&1 || { cat "$DIR/log/slurmctld.stderr"; return 1; }
  wait_for bash -c 'scontrol ping | grep -q "is UP"'
  if [ "$ACCT" = 1 ]; then  # the QOS needs the gres/gpu TRES, which slurmctld registers on its first start
    wait_for bash -c 'sacctmgr -n list tres type=gres | grep -q gpu'
    while IFS=: read -r name _ most _ gpus; do
      [ -n "$name" ] && [ -n "$gpus" ] && grep -q "^PartitionName=$name " "$DIR/slurm.conf" || continue
      q sacctmgr -i add qos "$name" set MaxTRESPerJob="gres/gpu=$gpus,node=$most" Flags=DenyOnLimit || true
      wait_for bash -c "scontrol show assoc_mgr flags=qos | grep -q 'QOS=$name('"
      wait_for scontrol update partitionname="$name" qos="$name"
    done <<< "$PARTITIONS"
  fi
  while IFS=: read -r name _; do [ -n "$name" ] || continue; slurmd_start "$name"; done <<< "$NODES"
  wait_for bash -c '! sinfo -h -o %t | grep -qvE "^(idle|mix|alloc)$"'
  echo "cluster up in $(( (${EPOCHREALTIME/./} - t0) / 1000 )) ms"; envs
}
stop() { set +e;
  local name p list=()
  eval "$(envs)"; q scancel -u "$ME" || true
  for name in "$DIR"/run/slurmd-*.pid slurmctld slurmdbd mariadbd munged; do   # read every PID before the first kill
    name=${name##*/}; name=${name%.pid}; p=$(cat "$DIR/run/$name.pid" 2>/dev/null) || continue
    [ -n "$p" ] && alive "$p" && list+=("$name:$p")
  done
  for name in "${list[@]}"; do [[ $name == slurmd-* ]] && q kill "${name##*:}"; done    # node daemons all at once
  for name in "${list[@]}"; do p=${name##*:}
    q kill "$p"; for _ in $(seq 200); do alive "$p" || break; sleep 0.05; done; alive "$p" && q kill -9 "$p"
  done; rm -f "$DIR"/run/*.pid
  if grep -qs ConstrainDevices "$DIR/cgroup.conf"; then   # the daemons leave their cgroups behind
    while IFS=: read -r name _; do [ -n "$name" ] && find /sys/fs/cgroup -depth -type d -path "*/slurm_$name*" -exec rmdir {} \; 2>/dev/null; done <<< "$NODES"
  fi; true
}
case $cmd in start) start;; stop) stop;; env) envs;; *) exit 2;; esac
