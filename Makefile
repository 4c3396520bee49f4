# hydromae: every target builds the virtual environment it needs, and reuses it afterwards.
#
# PYTHON       the interpreter to build it with (3.11, which all tests were run with)
# TORCH_INDEX  an index of torch wheels. On Linux, plain PyPI serves torch with CUDA (about 3 GB more); for the CPU alone:
#              make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
# WORKERS      processes that run the tests
# BENCH        more options for benchmarks/table.py
# BASE, HEAD   the two commits that bench-quick compares
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH := torch==2.13.0
TORCH_INDEX ?=
WORKERS ?= 2
BENCH ?=
BASE ?= HEAD~1
HEAD ?= HEAD

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
PYRIGHT := $(BIN)/pyright --pythonpath $(BIN)/python

# DeepSpeed builds a small extension at its first start, with the ninja of the environment: so that comes first on the PATH.
# One thread a process: the tests run side by side, and sums come out in the same order on every machine. MKL_CBWR: and wherever in
# memory the numbers lie, which differs between two processes; on some processors MKL's sums then differ in the last bit.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_CBWR=COMPATIBLE

.DEFAULT_GOAL := help
.PHONY: help venv demo test docs check format bench bench-quick clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

venv: $(STAMP) ## build the virtual environment

$(STAMP): pyproject.toml requirements/ci.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "hydromae needs Python 3.11, '$(PYTHON)' is not: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet --requirement requirements/ci.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

demo: $(STAMP) ## from nothing to a report: virtual record, training, gap, forecast, ungauged river
	$(BIN)/hydromae demo

test: $(STAMP) ## all tests with coverage, then types
	PATH="$(CURDIR)/$(BIN):$$PATH" $(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --durations=25 --durations-min=5 --cov --cov-report=term-missing:skip-covered
	$(PYRIGHT)

$(DOCS_STAMP): $(STAMP) requirements/docs.txt
	$(BIN)/python -m pip install --quiet --requirement requirements/docs.txt
	touch $@

docs: $(DOCS_STAMP) ## the documentation as a site in docs/_build; runs the gallery, and warnings are errors
	rm -rf docs/_build
	PATH="$(CURDIR)/$(BIN):$$PATH" $(ONE_THREAD) $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@! grep -rlE '(src|href)="(https?:)?//[^"]+\.(js|css|woff2?)"' docs/_build --include='*.html' || { echo "these pages fetch from elsewhere" >&2; exit 1; }

check: $(STAMP) ## style, types, and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYRIGHT)
	$(ONE_THREAD) $(BIN)/python -m pytest tests/test_layers.py

format: $(STAMP) ## mend style where a machine can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## every benchmark on an idle machine, one table with the targets (BENCH="--raw FOLDER" for real data)
	$(BIN)/python benchmarks/table.py --out bench.json --markdown bench.md $(BENCH)

bench-quick: $(STAMP) ## two commits as ratios, in three minutes: make bench-quick BASE=main
	$(BIN)/python benchmarks/compare.py --base $(BASE) --head $(HEAD)

clean: ## remove the virtual environment and every cache
	rm -rf $(VENV) .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis docs/_build docs/gallery
