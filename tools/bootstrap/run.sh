#!/bin/sh
# Finds a suitable Python and runs the set-up with it: run.sh GOAL. PYTHON, if set, is taken as it is.
set -eu
cd "$(dirname "$0")/../.."

suitable='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
python=${PYTHON:-}
if [ -n "$python" ]; then
    if ! "$python" -c ''; then
        echo "set-up: PYTHON=$python does not run; name a Python 3.10, 3.11 or 3.12" >&2
        exit 1
    fi
else
    # The one that made the environment comes first, so that a new Python on PATH does not undo it.
    # Each is tried, since a version manager's shim may be on PATH with nothing behind it.
    made_with=$(cat .venv/mmblocks/python 2>/dev/null || true)
    for candidate in "$made_with" python3.11 python3.12 python3.10 python3; do
        if [ -n "$candidate" ] && "$candidate" -c "$suitable" >/dev/null 2>&1; then
            python=$candidate
            break
        fi
    done
fi
if [ -z "$python" ]; then
    cat >&2 <<'END'
set-up: there is no Python 3.10, 3.11 or 3.12 on PATH (tried python3.11, 3.12, 3.10 and python3).
  On Debian and Ubuntu: sudo apt install python3.11 python3.11-venv python3.11-dev
  With pyenv: pyenv install 3.11 && pyenv local 3.11
  Or name one that is elsewhere: make PYTHON=/path/to/python3.11 ...
END
    exit 1
fi
exec "$python" tools/bootstrap "$@"
