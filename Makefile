# detfm: everything a newcomer needs. Only Python >= 3.11, make and g++ are presumed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install quickstart test fast lint format sample bench clean

help:             ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  \1\t/' | expand -t 14

install: $(STAMP) ## create .venv and install detfm with what the tests need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "detfm needs Python 3.11 or newer; name one with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fpga,rtl,sim,trees,search,cluster,onnx,test,lint]'
	@touch $@

quickstart: $(STAMP) ## the whole line on the shipped sample: about 5 minutes on 2 cores
	$(BIN)/detfm quickstart --out runs/quickstart --overwrite

test: $(STAMP)    ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist worksteal

fast: $(STAMP)    ## the suite without its slow tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

lint: $(STAMP)    ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

sample: $(STAMP)  ## make samples/jets.root again (installs Pythia 8 and FastJet)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[sim]'
	$(BIN)/detfm simulate --cfg simulate/sample --out samples/jets.root --overwrite

bench: $(STAMP)   ## every figure of the README: writes docs/benchmarks.md
	$(BIN)/python benchmarks/run_all.py

clean:            ## remove what make made, .venv included
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
