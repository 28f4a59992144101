# make quickstart        install, then run the whole pipeline on the embedded world: configs/toy.yaml
# make install           virtual environment with the exact versions of the lock file; does nothing when up to date
# make test              the full test suite       make test-fast   without the slow tests
# make test-pages      runs every command of README and docs: ten minutes
# make lint              ruff and mypy
# make bench             every benchmark that needs no real model; figures in runs/benchmarks/
# make docs              API pages from the docstrings, in build/docs/
# make clean             remove caches and build products; make distclean removes the environment too
#
# Variables:
#   ARGS      handed on to the program: make quickstart ARGS="seed=1"   make test ARGS="-k vocabulary"
#   LOCK      requirements-cpu.lock (default) or requirements-gpu.lock
#   TEST_PROCESSES  processes that share the tests (default: 2; each takes up to 3 GB)
#   PYTHON    interpreter that creates the environment, 3.11 or newer
#   PIP_ARGS  options for every pip call, e.g. a mirror: PIP_ARGS="--index-url https://mirror.example/simple"
#             pip's own configuration and environment variables are obeyed as usual.
# For the CPU lock on Linux, torch must be its CPU build. Where the configured index does not offer that build,
# TORCH_INDEX is asked as well.

PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements-cpu.lock
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP_ARGS ?=
TEST_PROCESSES ?= 2
ARGS ?=

.PHONY: help install quickstart test test-pages test-fast lint bench docs clean distclean

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(LOCK)
TORCH := $(shell sed -n 's/^torch==//p' $(LOCK))
# Modules whose names start with an underscore are shared by benchmarks; some need a real model, which they are told of.
BENCHMARKS := $(patsubst tests/benchmarks/%.py,%,$(filter-out tests/benchmarks/_% %/phase1.py %/warm_up.py,$(wildcard tests/benchmarks/*.py)))
IS_CUDA := import platform, torch; raise SystemExit(platform.system() == "Linux" and torch.version.cuda is not None)

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

install: $(STAMP)

$(STAMP): $(LOCK) pyproject.toml
	@set -e; started=$$(date +%s); \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed; name one: make install PYTHON=python3.11"; exit 2; }; \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	echo "installing $(LOCK) into $(VENV): about 3 GB, some minutes"; \
	extra=; case "$(LOCK) $$(uname -s)" in *cpu*Linux) \
	    case "$$($(BIN)/pip index versions torch $(PIP_ARGS) 2>/dev/null)" in \
	        *"$(TORCH)+cpu"*) ;; \
	        *) extra="--extra-index-url $(TORCH_INDEX)";; \
	    esac;; \
	esac; \
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps $(PIP_ARGS) $$extra -r $(LOCK); \
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation $(PIP_ARGS) -e .; \
	case $(LOCK) in *cpu*) $(BIN)/python -c '$(IS_CUDA)' || { \
	    echo "torch is not its CPU build; make distclean, then make install PIP_ARGS='--extra-index-url $(TORCH_INDEX)'"; \
	    exit 1; };; \
	esac; \
	touch $@; echo "installed in $$(( $$(date +%s) - started )) s"

quickstart: install
	@$(BIN)/rftt run configs/toy.yaml $(ARGS)

test: install
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

test-pages: install
	@$(BIN)/python -m pytest -m pages $(ARGS)

test-fast: install
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

lint: install
	@failed=; for check in "ruff check" "ruff format --check" mypy; do \
	    $(BIN)/$$check || failed="$$failed $$check;"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

bench: install
	@test -n "$(BENCHMARKS)" || { echo "there are no benchmarks in tests/benchmarks"; exit 1; }
	@mkdir -p runs/benchmarks; failed=; for name in $(BENCHMARKS); do \
	    echo "== $$name"; \
	    $(BIN)/python -m tests.benchmarks.$$name --json runs/benchmarks/$$name.json $(ARGS) || failed="$$failed $$name"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

docs: install
	@$(BIN)/python docs/api.py build/docs

clean:
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find rewards search rftt tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	@rm -rf $(VENV)
