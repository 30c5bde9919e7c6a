# shellcheck shell=bash
# Sourced by run_overnight.sh and run_tests.sh: a virtual environment in .venv, made once and again when
# requirements.txt changes. Set INTERP_PYTHON to use an environment of your own instead (a cluster's module, a
# container); it must have what requirements.txt lists.

if [[ -z "${INTERP_PYTHON:-}" ]]; then
  INTERP_PYTHON="$PWD/.venv/bin/python"
  wanted="$(sha256sum requirements.txt pyproject.toml)"
  if [[ ! -x "$INTERP_PYTHON" || "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]]; then
    echo "setting up .venv (a few minutes, once) …" >&2
    for candidate in python3.11 python3.12 python3.13 python3; do
      if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
        2>/dev/null; then
        break
      fi
      candidate=""
    done
    if [[ -z "$candidate" ]]; then
      echo "error: no Python 3.11 to 3.13 with venv found; install one (Debian: apt-get install python3-venv)," \
        "or set INTERP_PYTHON" >&2
      exit 1
    fi
    "$candidate" -m venv .venv
    if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt \
      2> .venv/pip.log; then
      cat .venv/pip.log >&2
      echo "error: pip could not install requirements.txt (see above); check the network or the package index" >&2
      exit 1
    fi
    echo "$wanted" > .venv/installed
  fi
fi
export INTERP_PYTHON
export TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=PASSIVE
