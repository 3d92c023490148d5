# make demo    a small study from start to end, with its pictures
# make quick   the tests of the core, in under a minute: what to run at each change
# make test    the whole test suite, but for what needs an engine of its own
# make test-ray           the tests of workers on Ray, with Ray
# make test-object-store  the tests of checkpoints in an object store, with obstore and moto
# make lint    style, types and the direction of imports
# make stubs   the code of the service's protocol, generated anew from its definition
# make clean   remove the virtual environment and every cache
#
# VENV names another virtual environment, PYTHON another interpreter (3.11 or later), JOBS the processes of the tests.

VENV ?= .venv
PYTHON ?= python3
JOBS ?= 2

BIN := $(VENV)/bin
# The compiler of the protocol needs another protobuf than its users; what it writes works with that and later ones.
STUBS := $(VENV)/stubs
# The core's own tests; frameworks, pictures and processes are left to `make test`.
QUICK := $(addprefix tests/unit/,checkpoints coordinator evolution records space storage) \
	--ignore tests/unit/checkpoints/test_keras_states.py --ignore tests/unit/checkpoints/test_torch_states.py \
	tests/unit/study/test_ask_and_tell.py tests/unit/study/test_callbacks.py tests/unit/study/test_opening.py \
	tests/unit/workers/test_fleet.py tests/unit/workers/test_loop.py tests/conformance/test_algorithms.py \
	tests/acceptance/test_the_one_idea.py
# Also read by the isolated environment in which pip builds the package.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Each of these has a step of its own, which installs what it needs.
ENGINES := tests/clusters tests/object_store
# A server of S3's protocol for tests. Its libraries and ours want different versions of python-dateutil.
MOTO := $(VENV)/moto

.PHONY: demo quick test test-ray test-object-store lint stubs clean

demo: $(VENV)/.installed-demo
	$(BIN)/phyletic demo

# One thread for each process of the tests: they keep the cores busy without the threads of the numerical libraries.
quick test test-ray test-object-store: export OMP_NUM_THREADS := 1
# The tests start hundreds of processes; without bytecode each would compile the package again.
quick test test-ray test-object-store: export PYTHONDONTWRITEBYTECODE :=
quick: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS) $(QUICK)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS) $(addprefix --ignore=,$(ENGINES))

# The tests of one cluster stay in one process.
test-ray: $(VENV)/.installed-test $(VENV)/.installed-ray $(VENV)/.installed-object-store $(MOTO)/.installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup tests/clusters/test_ray_*.py tests/unit/deploy/test_ray_up.py

test-object-store: $(VENV)/.installed-test $(VENV)/.installed-object-store $(MOTO)/.installed
	$(BIN)/python -m pytest -n $(JOBS) tests/object_store

lint: $(VENV)/.installed-lint $(STUBS)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(STUBS)/bin/python src/phyletic/remote/stubs.py --check

stubs: $(STUBS)/.installed
	$(STUBS)/bin/python src/phyletic/remote/stubs.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phyletic needs Python 3.11 or later: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# The package is installed in place, so only a change of what it needs asks for another installation.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]' --constraint constraints.txt
	touch $@

$(MOTO)/.installed: Makefile | $(BIN)/python
	$(PYTHON) -m venv $(MOTO)
	PIP_CONSTRAINT= $(MOTO)/bin/python -m pip install --quiet 'moto[server]==5.2.5'
	touch $@

$(STUBS)/.installed: Makefile | $(BIN)/python
	$(PYTHON) -m venv $(STUBS)
	PIP_CONSTRAINT= $(STUBS)/bin/python -m pip install --quiet grpcio-tools==1.76.0
	touch $@
