#!/usr/bin/env bash
# The end of an image's build: the project, its data, the list of what is installed, and the user that runs it.
set -euo pipefail
export PATH=/opt/venv/bin:$PATH

pip install --no-cache-dir --no-deps -e .
dvc config --local core.no_scm true
dvc pull --quiet
tools="$(mktemp -d)"
infra/sbom.sh "$tools" /opt/venv/bin/python sbom.json
rm -rf "$tools"
useradd --create-home --uid 1000 tracer
mkdir -p /var/lib/tracer /artifacts /opt/dagster
ln -s /var/lib/tracer/build build
# Whoever runs it writes DVC's notes beside the code, and a volume takes its first owner from here.
chown -R tracer . /var/lib/tracer /artifacts /opt/dagster
