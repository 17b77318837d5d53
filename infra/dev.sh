#!/usr/bin/env bash
# Starts Dagster's UI and daemon, and MLflow's UI. Ctrl-C stops all of them; so does the end of either one.
# DAGSTER_PORT and MLFLOW_PORT choose other ports.
set -euo pipefail
cd "$(dirname "$0")/.."

set -a
# shellcheck source=../mlflow/server.env
. mlflow/server.env
set +a
MLFLOW_PORT="${MLFLOW_PORT:-5000}"
DAGSTER_PORT="${DAGSTER_PORT:-3000}"
export MLFLOW_PORT # where links of Dagster lead
DAGSTER_HOME="$(.venv/bin/python -m pipelines.home)"
export DAGSTER_HOME
mkdir -p build/logs

for port in "$DAGSTER_PORT" "$MLFLOW_PORT"; do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "port $port is taken; choose another with DAGSTER_PORT=... or MLFLOW_PORT=..." >&2
    exit 1
  fi
done

# Each runs in its own session, so the terminal's Ctrl-C reaches only this script, which stops whole process groups.
setsid .venv/bin/mlflow server --host 127.0.0.1 --port "$MLFLOW_PORT" --workers 1 >build/logs/mlflow.log 2>&1 &
mlflow=$!
setsid .venv/bin/dagster dev --module-name pipelines.definitions --host 127.0.0.1 --port "$DAGSTER_PORT" >build/logs/dagster.log 2>&1 &
dagster=$!

stop() {
  trap - EXIT
  # A second Ctrl-C must not end this script before what it started: it only shortens the wait.
  trap 'kill -KILL -- "-$mlflow" "-$dagster" 2>/dev/null || true' INT TERM HUP
  kill -TERM -- "-$mlflow" "-$dagster" 2>/dev/null || true
  for _ in $(seq 50); do
    kill -0 -- "-$mlflow" 2>/dev/null || kill -0 -- "-$dagster" 2>/dev/null || return 0
    sleep 0.2 || true
  done
  kill -KILL -- "-$mlflow" "-$dagster" 2>/dev/null || true
}
trap 'stop; exit 0' INT TERM HUP
trap stop EXIT

echo "Dagster  http://127.0.0.1:$DAGSTER_PORT   (log: build/logs/dagster.log)"
echo "MLflow   http://127.0.0.1:$MLFLOW_PORT   (log: build/logs/mlflow.log); its runs and charts are under \"Model training\""
echo "Ctrl-C stops both."
wait -n "$mlflow" "$dagster" || true
echo "one of the two has stopped; the last lines of its log:" >&2
kill -0 "$mlflow" 2>/dev/null || tail -n 20 build/logs/mlflow.log >&2
kill -0 "$dagster" 2>/dev/null || tail -n 20 build/logs/dagster.log >&2
exit 1
