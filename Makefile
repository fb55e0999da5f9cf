# Every job of this repository; `make help` lists them. Needs make and Python 3.11 or 3.12, nothing else: the rest is
# installed into .venv from the locks under requirements/. `make test` also wants Java 17 and Maven, for a real broker.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
CHECK := $(BIN)/python -m pip --disable-pip-version-check --quiet check
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))

# A name on the path proves nothing: version managers leave shims that fail. So each candidate is run, and one that has
# ensurepip (Debian packs it apart) goes first.
ifndef PYTHON
PYTHON := $(shell \
	for module in ensurepip sys; do \
		for python in python3.12 python3.11 python3; do \
			$$python -c "import $$module; $(SUPPORTED)" >/dev/null 2>&1 && echo $$python && exit; \
		done; \
	done)
endif

.PHONY: help
help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.core ## run the risk flow on the embedded broker for about a minute, with a live table
	$(BIN)/tidegate demo

# Three processes even on two cores, for most tests of the broker wait; tests/side_by_side.py deals the tests out. Their
# times belong to machines of two cores and more: on one core, and with `make test WORKERS=0`, one does all in turn. They
# start hundreds of processes, which start in half the time where Python keeps what it has compiled.
WORKERS ?= $(shell test "$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)" -ge 2 && echo 3 || echo 0)

.PHONY: test
test: lint types ## lint, check types, run every test and print coverage
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term

.PHONY: lint
lint: $(VENV)/.dev ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(VENV)/.dev ## check types, strictly
	$(BIN)/mypy

.PHONY: bench
bench: $(VENV)/.dev ## run the benchmarks one after the other; 25 minutes, on a machine that does nothing else
	@for benchmark in throughput latency memory peer costs scaling takeover; do echo "== $$benchmark"; $(BIN)/python benchmarks/$$benchmark.py || exit; done

.PHONY: chaos
chaos: $(VENV)/.dev ## kill, stall and rescale the flow and its broker for about 20 minutes; `make chaos CHAOS="--seed 7"`
	$(BIN)/python tests/broker/chaos.py $(CHAOS)

# uv resolves for every platform and both Pythons at once, and writes hashes and no registry address. pip cannot.
.PHONY: lock
lock: COMPILE = $(VENV)/.uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $(UPGRADE)
lock: ## bring the locks in line with pyproject.toml; pins that fit stay, but for `make lock UPGRADE=--upgrade`
	$(call require_python)
	$(PYTHON) -m venv --clear $(VENV)/.uv
	$(VENV)/.uv/bin/python -m pip --disable-pip-version-check --quiet install uv
	$(COMPILE) pyproject.toml --output-file requirements/core.lock
	$(COMPILE) requirements/build.in --output-file requirements/build.lock
	$(COMPILE) pyproject.toml --extra evaluate -c requirements/core.lock --output-file requirements/evaluate.lock
	$(COMPILE) pyproject.toml --extra uplift -c requirements/core.lock --output-file requirements/uplift.lock
	$(COMPILE) pyproject.toml --extra evaluate --extra notebooks -c requirements/core.lock --output-file requirements/notebooks.lock
	$(COMPILE) pyproject.toml --extra dev --extra evaluate --extra uplift --extra notebooks requirements/build.in -c requirements/core.lock --output-file requirements/dev.lock
	rm -rf $(VENV)/.uv

.PHONY: clean
clean: ## remove all that was made: the environment, caches, the downloaded broker
	rm -rf $(VENV) .kafka .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define require_python
@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or 3.12 found; install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
@$(PYTHON) -c '$(SUPPORTED)' || { echo "make: $(PYTHON) is not a Python 3.11 or 3.12" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "make: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
endef

# An environment that works stays; one that another machine or a removed Python left is made anew.
$(VENV)/.made:
	$(call require_python)
	@$(BIN)/python -c '$(SUPPORTED)' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The locks are complete, so nothing is resolved again (--no-deps): an old pip would look for the newest release of what
# another package asks for with an extra, find one without a hash, and stop. `pip check` says so if one was incomplete.
# The files under .venv are stamps. They form one chain, so that two pips never write there at once under `make -j`.
$(VENV)/.core: $(VENV)/.made requirements/core.lock requirements/build.lock pyproject.toml
	@echo "installing requirements/core.lock into $(VENV)"
	@$(PIP) --no-deps --require-hashes -r requirements/core.lock -r requirements/build.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(CHECK)
	@touch $@

$(VENV)/.dev: $(VENV)/.core requirements/dev.lock
	@echo "installing requirements/dev.lock into $(VENV)"
	@$(PIP) --no-deps --require-hashes -r requirements/dev.lock
	@$(CHECK)
	@touch $@
