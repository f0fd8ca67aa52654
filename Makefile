# The newest Python that works here, among those the tests know; `make PYTHON=python3.12 ...` decides otherwise.
PYTHON ?= $(shell for version in 3.13 3.12 3.11; do \
	python$$version -c 'import ensurepip, venv' 2>/dev/null && echo python$$version && break; done)
VENV := .venv
BIN := $(VENV)/bin

BOARD := .board

.PHONY: setup board litert-js demo test test-fast hostile kill lint types mutants bench docs clean print-python

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/edgeprune cost dcase21 >/dev/null # keeps the network's graph in the user's cache: 2 s a call from then on, not 5
	touch $@

# An old board's Python for the tests of ssh: nothing but the last tflite-runtime and the numpy it takes.
board: $(BOARD)/.installed

$(BOARD)/.installed: Makefile
	$(PYTHON) -m venv $(BOARD)
	$(BOARD)/bin/python -m pip install --quiet tflite-runtime==2.14.0 numpy==1.26.4
	touch $@

# What the web page of `deploy` runs on; edgeprune/devices/litert_js.py holds the files to their hashes.
LITERT_JS := node_modules/@litertjs/core/package.json

litert-js: $(LITERT_JS)

$(LITERT_JS):
	npm install --prefix . --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --silent \
		@litertjs/core@2.5.3 @litertjs/wasm-utils@2.5.3

demo: setup
	$(BIN)/edgeprune run quickstart

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/windows # what Python lacks there is used on other systems alone

test: lint types board litert-js
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: lint types board litert-js
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow'

# Inputs of each kind that tests/hostile tries; the tests take a few hundred.
INPUTS ?= 10000

hostile: setup
	EDGEPRUNE_HOSTILE=$(INPUTS) $(BIN)/python -m pytest -n 2 tests/hostile

# The code of chosen files changed in all small ways; a test must fail of each (`mutmut browse` shows those that survive).
mutants: setup
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut export-cicd-stats
	@cat mutants/mutmut-cicd-stats.json

# Kills at random moments that tests/kill tries; the tests take a few.
KILLS ?= 50

kill: setup
	EDGEPRUNE_KILLS=$(KILLS) $(BIN)/python -m pytest -n 2 --dist loadfile tests/kill

bench: setup
	$(BIN)/python benchmarks/features.py

docs: setup
	$(BIN)/mkdocs build --strict
	$(BIN)/python -m pytest -q tests/test_site.py tests/test_doc_commands.py
	$(BIN)/edgeprune run quickstart
	$(BIN)/python benchmarks/doc_commands.py runs/quickstart-fold1-seed0

print-python:
	@echo $(PYTHON)

clean:
	rm -rf mutants $(VENV) $(VENV)-other $(BOARD) node_modules site screenshots build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
