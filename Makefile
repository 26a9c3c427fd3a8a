# Everything lives in .venv; nothing global is touched, no root needed. `make` is plain POSIX make.
PYTHON ?= python3
BIN = .venv/bin
# Three test processes for two cores (tests/conftest.py), which keep neighbours together; `make test PYTEST_ARGS=` runs all in one.
PYTEST_ARGS = -n auto --dist worksteal
UV = UV_PROJECT_ENVIRONMENT=.venv $(BIN)/uv

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /: /'

setup: .venv/.ready ## make .venv with what the hub needs to run

run: .venv/.ready ## start a development hub on http://localhost:3000 (writes .env on the first start)
	@$(BIN)/datacollect dev-env
	@$(BIN)/datacollect serve

# Dozens of its processes import the hub and the tests: compiled once, even where somebody has told Python to keep nothing.
# Where nothing is compiled yet, that is done beside the checks, which keep one core busy.
test: .venv/.ready-dev ## lint, types and all tests, on SQLite and PostgreSQL
	@[ -d tests/__pycache__ ] || PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --collect-only -qq -p no:xdist > /dev/null 2>&1 & \
	for check in 'ruff check .' 'ruff format --check .' mypy lint-imports; do \
		echo "$(BIN)/$$check"; $(BIN)/$$check || { wait; exit 1; }; \
	done; wait
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest $(PYTEST_ARGS)

lint: .venv/.ready-dev ## style and direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/.ready-dev ## strict type check
	$(BIN)/mypy

docs: .venv/.ready ## make the reference pages, and the OpenAPI document in dist/
	@mkdir -p dist docs/reference
	$(BIN)/datacollect openapi > dist/openapi.json
	$(BIN)/datacollect reference settings > docs/reference/settings.md
	$(BIN)/datacollect reference errors > docs/reference/errors.md
	$(BIN)/datacollect reference limits > docs/reference/limits.md
	$(BIN)/datacollect reference program-config > docs/reference/program-config.md
	$(BIN)/datacollect reference adapters > docs/reference/adapters.md
	$(BIN)/datacollect reference permissions > docs/reference/permissions.md
	$(BIN)/datacollect reference command-line > docs/reference/command-line.md

BENCH_OUT = bench/results/sqlite.json
BENCH_ARGS = suite --serve sqlite

bench: .venv/.ready-dev ## measure a hub of its own, unattended, beside the committed figures (BENCH_ARGS: other scenarios)
	$(BIN)/python -m bench $(BENCH_ARGS) --out $(BENCH_OUT)
	$(BIN)/python -m bench.compare $(BENCH_OUT)

.venv/.uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

.venv/.ready: .venv/.uv pyproject.toml uv.lock
	$(UV) sync --quiet --frozen --no-dev --all-extras --inexact
	@touch $@

.venv/.ready-dev: .venv/.uv pyproject.toml uv.lock
	$(UV) sync --quiet --frozen --all-extras --inexact --compile-bytecode
	@touch $@ .venv/.ready

.PHONY: help setup run test lint types docs bench
