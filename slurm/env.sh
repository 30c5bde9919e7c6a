# shellcheck shell=bash
# The only file to edit for a cluster. Every job and slurm/submit_overnight.sh source it; what is set in the environment
# already wins.

# Where jobs go. sbatch reads these variables itself, so they hold for `sbatch slurm/phase1.sbatch` too, once this file
# is sourced in the shell that submits.
# export SBATCH_PARTITION="${SBATCH_PARTITION:-gpu}"
# export SBATCH_ACCOUNT="${SBATCH_ACCOUNT:-my-account}"
# export SBATCH_QOS="${SBATCH_QOS:-normal}"
# export SBATCH_CONSTRAINT="${SBATCH_CONSTRAINT:-a100}" # one kind of GPU for one audit: other kinds compute other bits

# Software. Without INTERP_PYTHON, .venv in the checkout is used, and made where it is missing.
# module load python/3.11 cuda/12.8
# export INTERP_PYTHON="${INTERP_PYTHON:-/path/to/an/environment/bin/python}"

# Where the big files go: responses and activations, and downloaded models. All nodes must see both. Where compute nodes
# have no internet, download on the login node first (hf download MODEL), and say so here.
# export INTERP_ROOT="${INTERP_ROOT:-/scratch/$USER/audits}"
# export HF_HOME="${HF_HOME:-/scratch/$USER/huggingface}"
# export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}"

# What the cluster offers: from these preflight computes what each job asks for.
export INTERP_GRES="${INTERP_GRES:-gpu:1}"               # how a job asks for one GPU; gpu:a100:1, for instance
export INTERP_GPU_GB="${INTERP_GPU_GB:-80}"              # that GPU's memory
export INTERP_WORKERS="${INTERP_WORKERS:-8}"             # most jobs of a phase at a time
export INTERP_TIME_LIMIT="${INTERP_TIME_LIMIT:-24:00:00}" # longest job; one that meets it is requeued and goes on

# How long before its time limit a job is warned (the batch in hand is finished, or given up, by then), and how often one
# array element is requeued before it counts as failed.
export INTERP_WARNING_SIGNAL="${INTERP_WARNING_SIGNAL:-USR2}"
export INTERP_WARNING_SECONDS="${INTERP_WARNING_SECONDS:-300}"
export INTERP_MAX_REQUEUES="${INTERP_MAX_REQUEUES:-20}"
export SBATCH_SIGNAL="${SBATCH_SIGNAL:-B:$INTERP_WARNING_SIGNAL@$INTERP_WARNING_SECONDS}"
