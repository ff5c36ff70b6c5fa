# Everything here makes what it needs, from nothing but Python (3.11 or newer) and a compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := runs/demo

.PHONY: help demo test format benchmarks clean

help:
	@echo "make demo        train a language model for two minutes, evaluate it, and let it write"
	@echo "make test        format, lint, import order, types and all tests"
	@echo "make format      format the code"
	@echo "make benchmarks  measure the language model beside plain Keras"
	@echo "make clean       remove what these made"

# A stamp is newer than pyproject.toml once what that names is installed.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit("ostinato needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	$(PIP) install --editable '.[cpu]'
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) install --editable '.[cpu,dev]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/ostinato train --out $(DEMO) --overwrite
	@echo; echo "--- how good is it?"
	$(BIN)/ostinato evaluate $(DEMO)
	@echo; echo "--- what does it write?"
	$(BIN)/ostinato generate $(DEMO) --prompt "The " --length 500 --seed 1

test: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/pytest -n 2 --dist worksteal

format: $(VENV)/.tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: $(VENV)/.tested
	$(BIN)/python benchmarks/language_model.py

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .hypothesis .ruff_cache .import_linter_cache
