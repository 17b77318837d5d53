#!/usr/bin/env bash
# Part of an image's build: every pinned package of the extras $1, in /opt/venv, without the project itself.
set -euo pipefail

python3.11 -m venv /opt/venv
mkdir tracer pipelines
touch tracer/__init__.py pipelines/__init__.py
/opt/venv/bin/pip install --no-cache-dir -c constraints.txt -c infra/constraints-gpu.txt ".[$1]"
/opt/venv/bin/pip uninstall --yes tracer
rm -rf tracer pipelines build ./*.egg-info
