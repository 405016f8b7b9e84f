# Every target but clean and help first sets up what it needs; see CONTRIBUTING.md.
#   PYTHON=/path/to/python   the Python to make .venv with (3.10 to 3.12)
#   ARGS='...'               passed on to pytest by `make test` and to the demo by `make demo` and so on

.DEFAULT_GOAL := help
.PHONY: help demo transfer stitch benchmark test peers docs lint format setup clean

BIN := .venv/bin
SETUP := @sh tools/bootstrap/run.sh
# Dozens of processes would compile the package anew where nothing may be kept.
PYC := PYTHONDONTWRITEBYTECODE=

help:  ## print this list
	@sed -n 's/^\([a-z]*\): *## */  make \1\t/p' Makefile

demo:  ## train a small detector on generated scenes of digits and show what it finds
	$(SETUP) demo
	@$(BIN)/python tools/demo.py $(ARGS)

transfer:  ## fine-tune on new digits, frozen at several depths, and compare
	$(SETUP) demo
	@$(BIN)/python tools/transfer.py $(ARGS)

stitch:  ## train nets with other layers stitched in, and compare
	$(SETUP) demo
	@$(BIN)/python tools/stitch.py $(ARGS)

benchmark:  ## measure the nets beside other libraries' and write docs/benchmarks.md
	$(SETUP) test
	@$(BIN)/python tools/benchmark.py --out docs $(ARGS)

test:  ## lint, then run all tests
	$(SETUP) test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYC) $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=worksteal $(ARGS)

peers:  ## compile mmcv's ops for make test to compare with; without them it skips that
	$(SETUP) test
	@$(BIN)/python tools/bootstrap/compiled_ops.py

docs:  ## build the documentation into build/docs, warnings being errors
	$(SETUP) docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo 'The documentation is build/docs/index.html'

# mypy reads torch's types, so that it comes with the set-up for the tests.
lint:  ## run ruff and, where the tests are set up, mypy
	$(SETUP) lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@if [ -x $(BIN)/mypy ]; then $(BIN)/mypy; else echo 'mypy: left out until make setup'; fi

format:  ## mend with ruff what it can mend
	$(SETUP) lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

setup:  ## only set up: the environment .venv with everything that demo and test need
	$(SETUP) test

clean:  ## remove the environment, the peers and what builds left; data and work_dirs stay
	rm -rf .venv .peers build dist *.egg-info
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	find mmblocks tests tools configs -name __pycache__ -type d -prune -exec rm -rf {} +
