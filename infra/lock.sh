#!/usr/bin/env bash
# Writes constraints.txt: what a fresh environment resolves to today under pyproject.toml, every transitive dependency
# included. Then infra/constraints-gpu.txt: what the extra `gpu` adds to it, resolved and not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

EXTRAS=browser,ocr,mcp,files,bench,smollm2,cluster,stack,dev
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

echo "resolving and installing .[$EXTRAS] from scratch (some minutes)"
"${PYTHON:-python3}" -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip --quiet --quiet --disable-pip-version-check "$@"; }
pip install --upgrade pip
pip install "torch==2.13.0"
pip install ".[$EXTRAS]"
pip check

{
  echo "# Every package of the installation .[$EXTRAS], transitive ones included. Written by \`make lock\`, which installs"
  echo "# pyproject.toml from scratch and freezes the result; not edited by hand. Use: pip install -c constraints.txt -e ."
  # A build of torch for processors has a local version suffix, and one pin serves both builds.
  pip freeze --exclude tracer --exclude pip --exclude setuptools | grep -v -e '^-e' -e ' @ ' | sed -E 's/\+[a-z0-9.]+$//'
} >"$folder/constraints.txt"
mv "$folder/constraints.txt" constraints.txt

# `===` leaves out a build of torch for processors, which requires neither triton nor the CUDA libraries.
pip install --dry-run --ignore-installed --report "$folder/report.json" -c constraints.txt ".[gpu]" "torch===2.13.0"
{
  echo "# What the extra gpu adds to constraints.txt. Written by \`make lock\`: resolved, not installed there."
  echo "# Use: pip install -c constraints.txt -c infra/constraints-gpu.txt -e '.[gpu]'"
  "$folder/venv/bin/python" - "$folder/report.json" <<'PYTHON'
import json
import re
import sys
from pathlib import Path

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

locked = {plain(line.split("==")[0]) for line in Path("constraints.txt").read_text().splitlines() if "==" in line}
added = {item["metadata"]["name"]: item["metadata"]["version"] for item in json.loads(Path(sys.argv[1]).read_text())["install"]}
for name in sorted(added, key=plain):
    if plain(name) not in locked | {"tracer", "setuptools"}:
        print(f"{name}=={added[name].partition('+')[0]}")
PYTHON
} >"$folder/constraints-gpu.txt"
mv "$folder/constraints-gpu.txt" infra/constraints-gpu.txt
echo "constraints.txt: $(grep -c == constraints.txt) packages; infra/constraints-gpu.txt: $(grep -c == infra/constraints-gpu.txt) more"
