#!/usr/bin/env bash
# The overnight audit on a SLURM cluster: preflight, then a chain of jobs that wait for one another. Run it on the login
# node; run it again to submit what is left.
#
#   bash slurm/submit_overnight.sh audit-bleachers                        what slurm/env.sh says of the cluster
#   bash slurm/submit_overnight.sh audit-bleachers --keep projections     options of phases 1 and 2 come after the name
#   bash slurm/submit_overnight.sh audit-bleachers --dry-run              print the sbatch commands only
#   bash slurm/submit_overnight.sh                                        the embedded default, build included (CPU)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=slurm/env.sh
source slurm/env.sh
# shellcheck source=setup_env.sh
source setup_env.sh
exec "$INTERP_PYTHON" -m slurm.submit_overnight "$@"
