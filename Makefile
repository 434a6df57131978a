# `make help` lists the targets. Needed: Python 3.11 or newer, make; Java 17 and Maven for Apache Kafka.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first Python that runs and is new enough; a name on the path may be an empty shim.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$python && break; done)
UV_VERSION := 0.13.9
# uv is used where it stands; where it is missing it comes into a folder of ours, never into the system's Python.
UV := $(or $(shell command -v uv),.cache/uv/bin/uv)
BIN := .venv/bin
STAMP := .venv/.dipper-setup
WORKERS ?= 2
# Compiled kernels with bounds checks must never be mixed with those without: Numba's cache cannot tell them apart.
CHECKED := $(CURDIR)/.cache/numba-boundscheck

.PHONY: help setup tools check test demo bench sim faults fuzz models superlender results lock format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Bring uv where it is missing, then .venv from requirements.lock (skipped when up to date)

.cache/uv/bin/uv:
	@test -n "$(PYTHON)" || \
		{ echo "setup: no Python 3.11 or newer found; name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@rm -rf .cache/uv && mkdir -p .cache
	@# A Python without ensurepip makes no venv with pip in it; its own pip can still fill a folder.
	@if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null && $(PYTHON) -m venv .cache/uv; then \
		.cache/uv/bin/python -m pip install --quiet uv==$(UV_VERSION); \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m pip install --quiet --target .cache/uv uv==$(UV_VERSION); \
	else \
		echo "setup: $(PYTHON) has neither venv nor pip; install python3-venv or uv, then try again" >&2; exit 1; \
	fi

$(STAMP): requirements.lock pyproject.toml | $(UV)
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" .venv
	@$(UV) pip sync --quiet --python $(BIN)/python requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# What no package index has: Prometheus with promtool, for the tests of dashboards and alerts.
TOOLS := prometheus promtool
tools: ## Install the Debian packages that tests need, where they are missing
	@missing="$$(for tool in $(TOOLS); do command -v $$tool >/dev/null || echo $$tool; done)"; \
	if test -z "$$missing"; then exit 0; fi; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends prometheus; \
	else \
		echo "tools: $$missing is missing; install the package prometheus (on Debian: apt-get install prometheus)" >&2; \
		exit 1; \
	fi

check: setup ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup tools ## All tests; then kernels again with bounds checks, and small without compilation
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CHECKED) $(BIN)/pytest -q -n $(WORKERS) -m kernel
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -q -n $(WORKERS) -m kernel
	$(BIN)/pytest -n $(WORKERS)

demo: setup ## Requests decided live: make demo ARGS="--seconds 20 --summary json"
	@$(BIN)/dipper demo $(ARGS)

bench: setup ## Every benchmark, about twenty minutes on an idle machine; writes docs/PERFORMANCE.md
	@$(BIN)/dipper bench all $(ARGS)

sim: setup ## Workers in trouble by seeds, in virtual time: make sim ARGS="--seeds 200 --summary json"
	@$(BIN)/python -m tests.simulation $(ARGS)

faults: setup ## Kills and storms on Apache Kafka: make faults ARGS="--rounds 5 --summary json"
	@$(BIN)/python -m tests.faults $(ARGS)

models: setup ## The example models again, from a simulated population (10 minutes)
	@mkdir -p .cache/models
	$(BIN)/dipper simulate --out .cache/models/events.jsonl.gz --labels .cache/models/labels.csv \
		--applicants 8000 --firm-share 0.3 --days 45 --rate 1.5 --request-share 0.08 --seed 1
	@for side in consumer business; do $(BIN)/dipper train .cache/models/events.jsonl.gz \
		--label .cache/models/labels.csv --config examples/policies --first --name $$side --side $$side \
		--features examples/policies/models/$$side.txt --trees 100 --learning-rate 0.08 \
		--out examples/policies/models/$$side; done

fuzz: setup ## Any bytes give a row or a reason, at full size (forty minutes): make fuzz ARGS="--seed 2"
	$(BIN)/python -m tests.fuzz.run $(ARGS)

superlender: setup ## A real lender's history through Apache Kafka: train, decide, measure, replay
	$(BIN)/python -m examples.superlender $(ARGS)

results: setup ## Figures on real data, five seeds each, into docs/RESULTS.md (10 minutes)
	$(BIN)/python -m examples.results $(ARGS)

lock: setup ## Resolve pyproject.toml anew into requirements.lock (versions and hashes, no index address)
	$(UV) pip compile --quiet --universal --python-version 3.11 --group dev --generate-hashes --no-header \
		--no-emit-index-url --output-file requirements.lock pyproject.toml $(ARGS)

format: setup ## Format, and repair what lint can repair
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

clean: ## Remove what the other targets made
	rm -rf .venv .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
