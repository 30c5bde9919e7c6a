#!/usr/bin/env bash
# Everything that must hold: linters, types, shell scripts, then the test suite. Arguments go to pytest.
#
#   bash run_tests.sh                  all of it
#   bash run_tests.sh tests/interp     a part
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=setup_env.sh
source setup_env.sh

bin="$(dirname "$INTERP_PYTHON")"
"$INTERP_PYTHON" -m ruff check .
"$INTERP_PYTHON" -m mypy
"$bin/shellcheck" --external-sources ./*.sh slurm/*.sh slurm/*.sbatch .ci/run
"$INTERP_PYTHON" -m pytest -n 2 --dist loadfile "$@"
