#!/usr/bin/env bash
# Lists what is installed beside a Python, with versions and licences, as CycloneDX: infra/sbom.sh FOLDER PYTHON OUT.
# The tool gets an environment of its own in FOLDER.
set -euo pipefail

test -x "$1/bin/cyclonedx-py" || {
  "$2" -m venv --without-pip "$1"
  "$2" -m pip --quiet --disable-pip-version-check --python "$1/bin/python" install --no-cache-dir cyclonedx-bom==7.5.0
}
"$1/bin/cyclonedx-py" environment --output-file "$3" "$2"
