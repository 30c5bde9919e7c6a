#!/usr/bin/env bash
# A real, throw-away SLURM cluster on this machine, for development and tests. No root, systemd, cgroups or GPU needed.
#
#   eval "$(bash slurm/dev_cluster.sh start)"    installs SLURM if it is missing, starts the cluster, exports SLURM_CONF
#   bash slurm/dev_cluster.sh status             nodes and jobs; exit status 0 when the cluster is up, 1 when it is not
#   bash slurm/dev_cluster.sh stop [--purge]     kills every job and daemon and forgets the jobs; --purge: also the logs
#
# `start` again does nothing to a cluster that is up, and restores one whose daemons were killed. The nodes' GPUs are
# fake (CUDA_VISIBLE_DEVICES is set as on a real cluster), their CPUs and memory are only declared. Partitions: gpu (the
# default), cpu, and preemptible, whose jobs are requeued when a job of another partition needs their place. Finished
# jobs stay visible to scontrol and squeue for a day; there is no accounting, so no sacct.
#
# Settings: environment variables, read when the cluster starts from nothing.
#   SLURM_DEV_DIR             /tmp/slurm-dev   where everything is, sockets too, hence at most 70 characters
#   SLURM_DEV_PORT            16810            slurmctld's port; the nodes take the following ones
#   SLURM_DEV_NODES           2                nodes: n1, n2, ...
#   SLURM_DEV_CPUS            16               CPUs of each node
#   SLURM_DEV_MEM             512000           MB of memory of each node
#   SLURM_DEV_GPUS            4                fake GPUs of each node
#   SLURM_DEV_GRACE           10               seconds from a preemption's signal to its SIGTERM
#   SLURM_DEV_KILLWAIT        3                seconds from SIGTERM to SIGKILL
#   SLURM_DEV_SLURMD_TIMEOUT  10               seconds of silence after which a node is down
#   SLURM_DEV_REQUEUE_EXIT    (none)           exit status of jobs that SLURM itself requeues, as some sites do
#   SLURM_DEV_WAIT            30               seconds to wait for the nodes
#   SLURM_DEV_INSTALL         auto             apt: apt-get install (root) | extract: unpack Debian's packages without
#                                              installing them | none | auto: what is needed and possible
#   SLURM_DEV_PREFIX          ~/.cache/slurm-dev   where `extract` unpacks
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

dir="$(realpath -m "${SLURM_DEV_DIR:-/tmp/slurm-dev}")"
prefix="${SLURM_DEV_PREFIX:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/slurm-dev}"
packages="$prefix/root"
libraries="$packages/usr/lib/$(uname -m)-linux-gnu"

main() {
    [[ "$dir" =~ ^/[A-Za-z0-9._/-]{1,69}$ ]] ||
        die "SLURM_DEV_DIR must be a path of at most 70 plain characters: $dir"
    export SLURM_CONF="$dir/slurm.conf"
    case "$*" in
        start) start ;;
        status) status ;;
        stop) stop ;;
        "stop --purge")
            stop
            purge
            ;;
        *) usage ;;
    esac
}

usage() {
    sed -n '2,/^set /{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

say() { printf '[dev_cluster] %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# ---------------------------------------------------------------------------------------------------------------------
# Commands

start() {
    install_slurm
    own_directory
    lock
    [[ -n "$(processes)" ]] || configure
    start_daemon munged munged --force --socket="$dir/run/munge.socket" --key-file="$dir/munge.key" \
        --pid-file="$dir/run/munged.pid" --seed-file="$dir/run/munged.seed" --log-file="$dir/log/munged.log"
    start_daemon slurmctld slurmctld -f "$SLURM_CONF" "-L$dir/log/slurmctld.log"
    local node
    for node in $(nodes); do
        start_daemon "slurmd-$node" slurmd "${stepd[@]}" -N "$node" -f "$SLURM_CONF" "-L$dir/log/slurmd-$node.log"
    done
    wait_for_nodes
    say "up in $dir: $(sinfo --noheader --format '%P %D x %c CPUs, %G, %T' | paste -sd ';')"
    cat "$dir/env.sh"
}

status() {
    is_up || { say "not up in $dir" && exit 1; }
    sinfo --format '%12P %.5D %.5c %10G %10T %N'
    squeue --array --format '%12i %16j %11P %11T %.10M %.20R'
}

stop() {
    [[ -e "$dir/.slurm-dev" ]] || { say "nothing in $dir" && return; }
    lock
    local running
    while running="$(processes)" && [[ -n "$running" ]]; do
        # shellcheck disable=SC2086  # a list
        kill -KILL $running 2>/dev/null || true
        sleep 0.05
    done
    rm -rf -- "$dir/state" "$dir/spool" "$dir/run"
}

purge() { [[ ! -e "$dir/.slurm-dev" ]] || rm -rf -- "$dir"; }

# ---------------------------------------------------------------------------------------------------------------------
# SLURM on this machine

# After it, SLURM's programs are on the path; `stepd` are the options of slurmd that it needs to find slurmstepd.
install_slurm() {
    stepd=()
    local how="${SLURM_DEV_INSTALL:-auto}" needed
    needed="$(missing)"
    if [[ "$how" == auto ]]; then
        how=extract
        [[ "$(id -u)" -ne 0 ]] || how=apt
        [[ -n "$needed" ]] || how=none
        # What `start` exported before.
        [[ "$(command -v slurmctld)" != "$prefix/"* ]] || how=extract
    fi
    case "$how" in
        none) [[ -z "$needed" ]] || die "SLURM is not installed; missing: $needed" ;;
        apt | extract)
            command -v apt-get >/dev/null || die "SLURM is not installed, and there is no apt-get to install it with"
            mkdir -p "$prefix" 2>/dev/null || die "SLURM is not installed, and SLURM_DEV_PREFIX cannot be made: $prefix"
            # One at a time, also when several clusters start at once.
            exec {installing}>"$prefix/lock"
            flock "$installing"
            "install_with_$how"
            exec {installing}>&-
            ;;
        *) die "SLURM_DEV_INSTALL is auto, apt, extract or none, not $how" ;;
    esac
}

# The Debian packages that are not installed.
missing() {
    local pair
    for pair in slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client munged:munge; do
        command -v "${pair%:*}" >/dev/null || printf '%s ' "${pair#*:}"
    done
}

install_with_apt() {
    local needed
    read -ra needed <<<"$(missing)"
    [[ ${#needed[@]} -gt 0 ]] || return 0
    say "installing ${needed[*]}"
    # The packages are not to start daemons of their own. A machine's own policy stays as it is.
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e "$policy" ]]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    local options=(-qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120) said
    export DEBIAN_FRONTEND=noninteractive
    said="$(apt-get "${options[@]}" install "${needed[@]}" 2>&1)" ||
        said="$(apt-get -qq update 2>&1 && apt-get "${options[@]}" install "${needed[@]}" 2>&1)" ||
        die "apt-get cannot install ${needed[*]}: ${said##*$'\n'}"
}

# Into $prefix; nothing is installed, so that it needs no root.
install_with_extract() {
    if [[ ! -e "$prefix/done" ]]; then
        say "unpacking SLURM's packages into $prefix"
        mkdir -p "$prefix/debs" "$prefix/bin"
        local said name deb
        said="$(cd "$prefix/debs" && apt-get -qq download slurmctld slurmd slurm-client slurm-wlm-basic-plugins \
            munge libmunge2 libhwloc15 2>&1)" || die "apt-get cannot download SLURM's packages: ${said##*$'\n'}"
        for deb in "$prefix/debs/"*.deb; do dpkg -x "$deb" "$packages"; done
        for name in slurmd slurmctld; do ln -sfn "$packages/usr/sbin/$name-wlm" "$prefix/bin/$name"; done
        touch "$prefix/done"
    fi
    eval "$(extracted_environment)"
    stepd=(-d "$packages/usr/sbin/slurmstepd-wlm")
}

extracted_environment() {
    # shellcheck disable=SC2016  # for the one who evaluates it
    printf 'export PATH="%s:$PATH"\n' "$prefix/bin:$packages/usr/bin:$packages/usr/sbin"
    printf 'export LD_LIBRARY_PATH="%s"\n' "$libraries/slurm-wlm:$libraries"
}

# ---------------------------------------------------------------------------------------------------------------------
# The cluster's directory

# Only a directory that this script made is used, and later removed.
own_directory() {
    [[ -e "$dir/.slurm-dev" || -z "$(ls -A "$dir" 2>/dev/null)" ]] || die "$dir is not empty, and not a dev cluster's"
    mkdir -p "$dir"
    touch "$dir/.slurm-dev"
    mkdir -p "$dir"/{dev,log,run,state,spool}
}

# Until this process ends: of several that start or stop the same cluster at once, one after the other does.
lock() {
    exec {locked}>"$dir/.slurm-dev"
    flock "$locked"
}

configure() {
    (umask 077 && head -c 1024 /dev/urandom >"$dir/munge.key")
    # Only a name here: it limits nothing, but keeps slurmd from looking for systemd where there is only cgroup v2.
    echo "CgroupPlugin=cgroup/v1" >"$dir/cgroup.conf"
    environment >"$dir/env.sh"
    gres_conf >"$dir/gres.conf"
    { slurm_conf && node_conf && partition_conf; } >"$dir/slurm.conf"
    chmod 644 "$dir"/*.conf
}

environment() {
    echo "export SLURM_CONF=$SLURM_CONF"
    echo "export SLURM_DEV_DIR=$dir"
    [[ ${#stepd[@]} -eq 0 ]] || extracted_environment
}

# SLURM wants a distinct character device for each GPU; a link to /dev/null is one.
gres_conf() {
    local gpu
    for ((gpu = 0; gpu < ${SLURM_DEV_GPUS:-4}; gpu++)); do
        ln -sfn /dev/null "$dir/dev/gpu$gpu"
        echo "Name=gpu File=$dir/dev/gpu$gpu"
    done
}

slurm_conf() {
    local host me
    host="$(uname -n)"
    me="$(id -un)"
    cat <<EOF
ClusterName=dev
SlurmctldHost=${host%%.*}(127.0.0.1)
SlurmctldPort=${SLURM_DEV_PORT:-16810}
SlurmUser=$me
SlurmdUser=$me
$([[ ${#stepd[@]} -eq 0 ]] || echo "PluginDir=$libraries/slurm-wlm")
AuthType=auth/munge
CredType=cred/munge
# cred_expire: a requeued job starts again after so many seconds, not after 120
AuthInfo=socket=$dir/run/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd-%n.pid
SlurmctldDebug=verbose
SlurmdDebug=verbose
MailProg=/bin/true
# --- no cgroups, no affinity, no PMIx
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
# --- what is declared counts, not what the machine has; CPUs and GPUs are consumed, memory is not
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
# --- a scheduler that does not keep tests waiting
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PriorityType=priority/basic
# --- requeue, preemption, time limits
JobRequeue=1
${SLURM_DEV_REQUEUE_EXIT:+RequeueExit=$SLURM_DEV_REQUEUE_EXIT}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=${SLURM_DEV_KILLWAIT:-3}
OverTimeLimit=0
CompleteWait=0
BatchStartTimeout=10
UnkillableStepTimeout=60
# --- a dead node is soon noticed, and used again when it comes back
SlurmdTimeout=${SLURM_DEV_SLURMD_TIMEOUT:-10}
ReturnToService=2
TreeWidth=50
# --- finished jobs stay visible for a day
MinJobAge=86400
MaxJobCount=20000
MaxArraySize=10001
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
EOF
}

node_conf() {
    local host node
    host="$(uname -n)"
    for ((node = 1; node <= ${SLURM_DEV_NODES:-2}; node++)); do
        echo "NodeName=n$node NodeHostname=${host%%.*} NodeAddr=127.0.0.1 Port=$((${SLURM_DEV_PORT:-16810} + node))" \
            "CPUs=${SLURM_DEV_CPUS:-16} RealMemory=${SLURM_DEV_MEM:-512000} Gres=gpu:${SLURM_DEV_GPUS:-4}"
    done
}

partition_conf() {
    cat <<EOF
PartitionName=DEFAULT Nodes=ALL MaxTime=7-00:00:00 DefaultTime=10 PriorityTier=10 PreemptMode=OFF
PartitionName=gpu Default=YES
PartitionName=cpu
PartitionName=preemptible PriorityTier=1 PreemptMode=REQUEUE GraceTime=${SLURM_DEV_GRACE:-10}
EOF
}

nodes() { sed -n 's/^NodeName=\([^ ]*\) .*/\1/p' "$SLURM_CONF"; }

# ---------------------------------------------------------------------------------------------------------------------
# Daemons

# start_daemon NAME COMMAND...: unless it runs.
start_daemon() {
    ! is_running "$1" || return 0
    "${@:2}" {locked}>&- </dev/null >"$dir/log/$1.start.log" 2>&1 || fail_to_start "$1"
}

# Told by the log file among the arguments: a process id may have been given to another process since.
is_running() { grep -qzxE -- "(-L|--log-file=)$dir/log/$1\.log" /proc/[0-9]*/cmdline 2>/dev/null; }

# The process ids of this cluster: its daemons, and the jobs' own processes, which may outlive them.
processes() {
    {
        grep -lzxE -- "--log-file=$dir/log/munged\.log" /proc/[0-9]*/cmdline
        # slurmctld, slurmd, and the processes that they fork, which change their title
        find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/cwd' -lname "$dir/log" -printf '%h/comm\n' |
            xargs -r grep -lxE 'slurm(ctld|d|stepd|scriptd)(-wlm)?'
        grep -lzxF -- "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ | xargs -r grep -lz '^SLURMD_NODENAME='
    } 2>/dev/null | cut -d/ -f3 || true
}

is_up() {
    local node
    [[ -e "$SLURM_CONF" ]] && is_running slurmctld || return 1
    for node in $(nodes); do is_running "slurmd-$node" || return 1; done
    # shellcheck source=/dev/null
    source "$dir/env.sh"
    timeout 5 scontrol ping 2>/dev/null | grep -q "is UP"
}

# A node that crashed with a job, or that a crashed slurmctld knows of an unknown job, is taken back into service.
wait_for_nodes() {
    local deadline=$((SECONDS + ${SLURM_DEV_WAIT:-30})) bad
    until is_up && bad="$(unusable_nodes)" && [[ -z "$bad" ]]; do
        ((SECONDS < deadline)) || fail_to_start "nodes: ${bad:-no answer}"
        [[ -z "${bad:-}" ]] || scontrol update nodename="$bad" state=resume 2>/dev/null || true
        sleep 0.1
    done
}

unusable_nodes() {
    timeout 5 sinfo --noheader --Node --partition gpu --format '%N %T' |
        awk '$2 !~ /^(idle|mixed|allocated|completing)$/ {print $1}' | paste -sd ,
}

fail_to_start() {
    say "the last lines of the logs:"
    tail -n 8 "$dir"/log/*.log >&2 || true
    die "the cluster did not start: $1"
}

main "$@"
