#!/usr/bin/env bash
# Prints a Python that this project runs on: $PYTHON, else the first of python3, python3.12, python3.11 that fits.
set -euo pipefail

fits() { "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; }

for name in ${PYTHON:-python3 python3.12 python3.11}; do
  if path="$(command -v "$name")" && fits "$path"; then
    echo "$path"
    exit 0
  fi
done
cat >&2 <<MESSAGE
No Python 3.11 or 3.12 with its venv module was found (looked for: ${PYTHON:-python3, python3.12, python3.11}).
On Debian or Ubuntu: apt-get install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3.11 ...
MESSAGE
exit 1
