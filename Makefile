# The verbs of the project, for people and CI alike. Each does its own set-up on a fresh machine
# with Python 3.11 or newer, pip and make.

PYTHON ?= python3
VENV ?= .venv
RIVALS ?= .venv-rivals
BIN := $(VENV)/bin
BUNDLE := models/cybersolve-mini
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help serve test lint bench train export evaluate lock clean

help:  ## list the verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / - /'

serve: $(VENV)/serve.stamp  ## serve the bundled model on HOST:PORT (127.0.0.1:8000)
	$(BIN)/cybersolve serve

test: $(VENV)/dev.stamp  ## lint, type check and the whole test suite
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

lint: $(VENV)/dev.stamp  ## format, lint and type check
	$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy

bench: $(VENV)/dev.stamp $(RIVALS)/rivals.stamp  ## our engine beside others; ARGS=--quick to try it
	$(BIN)/python -m bench.engines --rivals-python $(RIVALS)/bin/python $(ARGS)

train: $(VENV)/dev.stamp  ## train the bundled model anew in runs/mini, or resume (an hour or more)
	test -d data || $(BIN)/python -m training data
	$(BIN)/python -m training train --precision bf16

export: $(VENV)/dev.stamp  ## the checkpoint of runs/mini as the bundle in models/, with its figures
	$(BIN)/python -m model_export export runs/mini
	test -d data-calibration || $(BIN)/python -m training data --evaluation 2000 --test 2000 \
		--seed 2 --out data-calibration
	$(BIN)/python -m training calibrate $(BUNDLE) --data data-calibration --unseen-by data \
		--out runs/mini/calibration.json
	$(BIN)/python -m model_export describe $(BUNDLE) --calibration runs/mini/calibration.json
	$(MAKE) evaluate
	$(BIN)/python -m model_export describe $(BUNDLE) --evaluation evaluation/report.json

evaluate: $(VENV)/dev.stamp  ## score the bundled model on fresh questions; report in evaluation/
	test -d data-fresh || $(BIN)/python -m training data --evaluation 2000 --seed 1 --out data-fresh
	test ! -d data || unseen="--unseen-by data"; \
	$(BIN)/python -m training evaluate $(BUNDLE) --data data-fresh $$unseen --limit 10000 \
		--report evaluation

lock: $(VENV)/dev.stamp  ## resolve requirements/*.txt anew from pyproject.toml
	$(BIN)/uv pip compile -q pyproject.toml --extra cpu --universal --python-version 3.11 \
		--generate-hashes --output-file requirements/serve.txt
	$(BIN)/uv pip compile -q pyproject.toml --extra cpu --extra train --extra export --extra dev \
		--universal --python-version 3.11 --constraint requirements/serve.txt \
		--excludes requirements/excludes.txt --output-file requirements/dev.txt
	$(BIN)/uv pip compile -q requirements/rivals.in --universal --python-version 3.11 \
		--excludes requirements/excludes.txt --output-file requirements/rivals.txt

clean:  ## remove the virtual environments
	rm -rf $(VENV) $(RIVALS)

$(VENV)/serve.stamp: requirements/serve.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --require-hashes -r requirements/serve.txt
	$(BIN)/pip install -q --no-deps -e .
	touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/serve.stamp
	$(BIN)/pip install -q -r requirements/dev.txt
	touch $@

$(RIVALS)/rivals.stamp: requirements/rivals.txt
	$(PYTHON) -m venv $(RIVALS)
	$(RIVALS)/bin/pip install -q -r requirements/rivals.txt
	touch $@
