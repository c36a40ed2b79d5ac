# Both targets work from a fresh clone with only Python (>= 3.11) and make: they create the environment they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RESULTS ?= results/local
SEEDS ?= 3
# Further spaces, or all of them: make leaderboard SPACES="nasbench301 nds-resnet nds-resnexta"
SPACES ?= nasbench201
# One seed of the zero-cost measures keeps the whole short; more: make leaderboard ESTIMATORS=all
ESTIMATORS ?= spos shifting pinas naov2 close grad_norm=1 snip=1 jacob_cov=1 naswot=1 synflow=1 random oracle_noise params macs

# As every run has it (benchmarks/process.py): freed memory stays, instead of being new for each operation.
KEEP_MEMORY := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296

.PHONY: leaderboard test robustness lint performance setup clean

leaderboard: $(VENV)/.installed  ## every estimator on each space of SPACES with embedded images, then the report
	set -e; for space in $(SPACES); do \
	$(BIN)/supertau run --space $$space --estimator $(ESTIMATORS) --preset quick --seeds $(SEEDS) --results $(RESULTS); \
	done
	$(BIN)/supertau report --results $(RESULTS)

# Files in their order, not by their number of tests: those that start many processes come first, and the small ones fill the end.
test: $(VENV)/.installed-dev lint  ## lint, types, tests
	$(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder

robustness: $(VENV)/.installed-dev  ## kills, damaged files, wrong command lines; docs/robustness.md keeps the table
	$(BIN)/pytest tests/robustness -q -s -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

performance: $(VENV)/.installed-dev  ## pytest-benchmark suite; ratios within one run
	$(KEEP_MEMORY) $(BIN)/pytest tests/performance -q -s --benchmark-only

setup: $(VENV)/.installed-dev  ## the environment for development

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "supertau needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch goes first: an unpinned requirement of another package would pull a build for GPUs of several gigabytes.
$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
