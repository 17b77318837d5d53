#!/usr/bin/env bash
# Run by the Postgres image on an empty volume: one database and one role for Dagster, one for MLflow.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --username postgres <<'SQL'
\getenv dagster DAGSTER_DB_PASSWORD
\getenv mlflow MLFLOW_DB_PASSWORD
CREATE ROLE dagster LOGIN PASSWORD :'dagster';
CREATE DATABASE dagster OWNER dagster;
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE DATABASE mlflow OWNER mlflow;
SQL
