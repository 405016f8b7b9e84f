#!/bin/sh
# Finds a Python and runs the set-up with it: run.sh GOAL. PYTHON, if set, is the one that is taken.
set -eu
cd "$(dirname "$0")/../.."
goal=${1:-}
# The environment's own comes first, so that a new Python on PATH does not undo it.
if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"
else set -- .venv/bin/python python3.11 python3.12 python3.10 python3; fi
for python in "$@"; do
    # Each is run, since a version manager's shim may be on PATH with nothing behind it.
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>&1) || version=none
    case $version in 3.10 | 3.11 | 3.12) exec "$python" tools/bootstrap "$goal" ;; esac
    tried="${tried:-}, $python is $version"
done
echo "set-up: mmblocks needs Python 3.10, 3.11 or 3.12 (${tried#, })
  On Debian and Ubuntu: sudo apt install python3.11 python3.11-venv
  With pyenv: pyenv install 3.11 && pyenv local 3.11
  Or name one that is elsewhere: make PYTHON=/path/to/python3.11 ..." >&2
exit 1
