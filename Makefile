# make demo    a small study from start to end, with its pictures
# make test    the whole test suite
# make lint    style, types and the direction of imports
# make clean   remove the virtual environment and every cache
#
# VENV names another virtual environment, PYTHON another interpreter (3.11 or later), JOBS the processes of the tests.

VENV ?= .venv
PYTHON ?= python3
JOBS ?= 2

BIN := $(VENV)/bin
# Also read by the isolated environment in which pip builds the package.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint clean

demo: $(VENV)/.installed-demo
	$(BIN)/phyletic demo

# One thread for each process of the tests: they keep the cores busy without the threads of the numerical libraries.
test: export OMP_NUM_THREADS := 1
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phyletic needs Python 3.11 or later: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# The package is installed in place, so only a change of what it needs asks for another installation.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]' --constraint constraints.txt
	touch $@
