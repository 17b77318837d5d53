#!/usr/bin/env bash
# The image's entry point: makes the folders that `build` and the caches lead to, which an empty volume has not.
set -euo pipefail

mkdir -p /var/lib/tracer/build /var/lib/tracer/logs "$HF_HOME"
exec "$@"
