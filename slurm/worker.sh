# shellcheck shell=bash
# Sourced by every sbatch file: the environment, then `run SCRIPT OPTIONS...`, which runs one of the audit's scripts on the
# experiment that the job was submitted with (arguments: EXPERIMENT [OPTIONS...]), hands signals on to it, and has this
# very array element requeued when the script asks for it.
set -euo pipefail
if [[ ! -f slurm/worker.sh ]]; then
  echo "error: submit from the repository's root (or with --chdir=<there>); this job runs in $PWD" >&2
  exit 2
fi
# shellcheck source=slurm/env.sh
source slurm/env.sh
export INTERP_PYTHON="${INTERP_PYTHON:-$PWD/.venv/bin/python}" # made by submit_overnight.sh; jobs install nothing
if [[ ! -x "$INTERP_PYTHON" ]]; then
  echo "error: no $INTERP_PYTHON; on the login node: cd '$PWD' && source setup_env.sh" >&2
  exit 2
fi
# shellcheck source=setup_env.sh
source setup_env.sh

# shellcheck disable=SC2034 # for the sbatch file
experiment=(--experiment "${1:-planted_quirks}")
# shellcheck disable=SC2034
options=("${@:2}")
# shellcheck disable=SC2034
warning=(--warning-seconds "$INTERP_WARNING_SECONDS")
element="$SLURM_JOB_ID"
if [[ -n "${SLURM_ARRAY_JOB_ID:-}" ]]; then
  element="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
asked=""

run() {
  echo "== begin $element on $(hostname), restart ${SLURM_RESTART_COUNT:-0}, $(date +%FT%T): $*"
  trap 'warn "$INTERP_WARNING_SIGNAL"' "$INTERP_WARNING_SIGNAL"
  trap 'warn TERM' TERM
  "$INTERP_PYTHON" "$@" &
  child=$!
  local status=0
  wait_for_child || status=$?
  echo "== end $element with status $status, $(date +%FT%T)"
  if wants_requeue "$status"; then
    requeue
  fi
  return "$status"
}

# SLURM sends its warning to this shell alone, SIGTERM to the script too: so what is handed on is always the warning, which
# a script that has heard SIGTERM ignores.
warn() {
  asked="$1"
  echo "== $1 for $element, $(date +%FT%T)"
  kill -s USR2 "$child" 2>/dev/null || true
}

# `wait` returns at every signal; only when the child is gone is its status the child's.
wait_for_child() {
  while kill -0 "$child" 2>/dev/null; do
    wait "$child" || true
  done
  wait "$child"
}

# 75: the script was stopped and says that the same command goes on. Killed by the signal itself (128 + 12 or 15), it was
# still starting.
wants_requeue() {
  [[ "$1" -eq 75 ]] || [[ -n "$asked" && ("$1" -eq 140 || "$1" -eq 143) ]]
}

# After a warning the job still runs, and nobody but itself can requeue it. A job that SLURM is ending (COMPLETING) was
# cancelled, which a requeue would undo, or is requeued by SLURM itself; only after its time limit is it left to us.
requeue() {
  local job
  job="$(scontrol -o show job "$element")"
  if [[ "$job" != *JobState=RUNNING* && "$job" != *Reason=TimeLimit* ]]; then
    echo "== $element is ended by SLURM (cancelled, or requeued already), so it does not requeue itself"
  elif [[ "${SLURM_RESTART_COUNT:-0}" -ge "$INTERP_MAX_REQUEUES" ]]; then
    echo "error: $element was requeued $INTERP_MAX_REQUEUES times and is not done; submit again, with more time" >&2
  else
    echo "== requeueing $element"
    scontrol requeue "$element"
    sleep 60 # until SLURM ends this run of the job
  fi
}
