#!/usr/bin/env bash
# The image's health check: asks whichever server the container runs. Commands that end have nothing to ask.
set -euo pipefail

answers() { python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=20)' "http://localhost:$1"; }
case "$(tr '\0' ' ' <"/proc/${1:-1}/cmdline")" in
  *dagster-daemon*) dagster-daemon liveness-check ;;
  *dagster-webserver*) answers 3000/server_info ;;
  *dagster*grpc*) dagster api grpc-health-check --port 4000 ;;
  *mlflow*server*) answers 5000/health ;;
  *tracer*serve*) answers 8000/health ;;
esac
