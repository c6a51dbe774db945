# Every target does its own set-up: Python >= 3.11 and make are all a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Tests wait more than they work: three at a time keep two cores busy. JOBS=0 runs them one by one.
JOBS ?= 3

.PHONY: help demo test check bench chaos docs-check lock clean venv venv-dev
.DEFAULT_GOAL := help

help:
	@echo "make demo | test | check | bench | chaos | docs-check | lock | clean"

venv:
	@$(PYTHON) scripts/bootstrap.py run

venv-dev:
	@$(PYTHON) scripts/bootstrap.py dev

demo: venv
	@$(BIN)/interlock run examples/01-release-readiness/goal.yaml $(ARGS)

test: venv-dev
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: venv-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/test_layout.py

bench: venv-dev
	@$(if $(findstring peers,$(ARGS)),$(PYTHON) scripts/bootstrap.py bench)
	@$(BIN)/python scripts/bench $(ARGS)

chaos: venv-dev
	@$(BIN)/python scripts/campaigns $(ARGS)

docs-check: venv-dev
	@$(BIN)/python -m pytest tests/docs

lock: venv-dev
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/python scripts/lock.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
