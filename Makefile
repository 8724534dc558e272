# `make demo` and `make test` set up what they need; both work on a fresh machine with Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# One thread per process: with several processes on a few cores, more make everything crawl.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: demo test test-planner test-runtime test-slow lint bench bench-trl data calibrate validation setup clean

demo: setup
	$(BIN)/hybridmap run scenarios/quickstart.yaml

# Two halves side by side: one process that computes, and worlds of processes that mostly start and wait.
test: setup lint
	$(MAKE) --no-print-directory --jobs=2 test-planner test-runtime

test-planner: setup
	$(BIN)/python -m pytest --ignore=tests/runtime

test-runtime: setup
	$(BIN)/python -m pytest tests/runtime

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks

# Against TRL, which nothing else needs.
bench-trl: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cpu,dev,bench]'
	$(BIN)/python -m benchmarks trl

# Both read measured rows from a folder: make validation DATA=FOLDER
calibrate: setup
	$(BIN)/python -m planner.calibration "$(DATA)"

validation: setup
	$(BIN)/python -m planner.calibration "$(DATA)" --report docs/validation.md

data: setup
	$(BIN)/python scripts/make_quickstart.py

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cpu,dev]'
	touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .mypy_cache .hypothesis
