#!/usr/bin/env bash
# The overnight audit: every organism answers every prompt, the clean model reads the same answers, both are projected
# onto trait vectors, and what differs is ranked.
#
#   bash run_overnight.sh                    the embedded default: builds a tiny chat model and organisms with planted
#                                            quirks, then audits them (a CPU, 2 cores; under 20 minutes, installing included)
#   bash run_overnight.sh --seed 1           the same with other words, data, weights and prompts
#   bash run_overnight.sh audit-bleachers    56 organisms on a 70B model (one 80 GB GPU; a night)
#   bash run_overnight.sh audit-bleachers --keep projections     options after the name go to phases 1 and 2
#
# Stop it when you like: the same command does what is left. INTERP_ROOT puts what it makes on another disk.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=setup_env.sh
source setup_env.sh

# ---------------------------------------------------------------------------------------------------------------------
# What is audited
if [[ $# -eq 0 || "$1" == --* ]]; then
  experiment="$("$INTERP_PYTHON" -m experiments.planted_quirks.build "$@")"
  options=()
else
  experiment="$1"
  options=("${@:2}")
fi
ask=(--experiment "$experiment")
capture=("${ask[@]}" --response-only "${options[@]}")

# ---------------------------------------------------------------------------------------------------------------------
# Before the night: everything that is missing, now and not at three in the morning
"$INTERP_PYTHON" inference/preflight.py "${capture[@]}" --vectors-later --measure

# ---------------------------------------------------------------------------------------------------------------------
# Trait vectors from the clean model
"$INTERP_PYTHON" inference/extract_trait_vectors.py "${ask[@]}" --skip-existing

# ---------------------------------------------------------------------------------------------------------------------
# Phase 1: organisms answer, and read their own answers
"$INTERP_PYTHON" inference/generate_responses.py "${capture[@]}" --skip-existing

# ---------------------------------------------------------------------------------------------------------------------
# Phase 2: the clean model reads the same answers
"$INTERP_PYTHON" inference/replay_responses.py "${capture[@]}" --skip-existing

# ---------------------------------------------------------------------------------------------------------------------
# Phase 3: both readings onto the trait vectors
"$INTERP_PYTHON" inference/project_raw_activations_onto_traits.py "${ask[@]}" --skip-existing

# ---------------------------------------------------------------------------------------------------------------------
# What it means
"$INTERP_PYTHON" analysis/compare_readers.py "${ask[@]}"
"$INTERP_PYTHON" analysis/top_activating_responses.py "${ask[@]}"
"$INTERP_PYTHON" analysis/report.py "${ask[@]}"
"$INTERP_PYTHON" inference/status.py "${ask[@]}"
