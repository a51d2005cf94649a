# The verbs of the project, for people and CI alike. Each does its own set-up on a fresh machine
# with Python 3.11 or newer, pip and make.

PYTHON ?= python3
REQUESTS ?= 200000
VENV ?= .venv
BASELINES ?= .venv-baselines
BASELINE_SERVERS ?= .venv-baselines-servers
NVCC ?= .venv-nvcc
BIN := $(VENV)/bin
BUNDLE := models/cybersolve-mini
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11
LOCK = $(COMPILE) pyproject.toml
SLIM = --excludes requirements/serve-excludes.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help serve test browser-test screenshots ops-test image-test kernel-test cuda-kernels wheel wheel-test ray-test baselines-test finetune-test soak \
	openapi client loadtest lint bench bench-levels bench-servers train export evaluate lock clean

help:  ## list the verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / - /'

serve: $(VENV)/serve.stamp  ## serve the bundled model on HOST:PORT (127.0.0.1:8000)
	$(BIN)/cybersolve serve

test: $(VENV)/dev.stamp  ## lint, type check and the whole test suite
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n logical --maxprocesses 8 --dist worksteal

browser-test: $(VENV)/browser.stamp  ## the page in real Chromium (two minutes)
	$(BIN)/pytest -m browser

screenshots: $(VENV)/browser.stamp  ## draw docs/images/page-*.png anew, in real Chromium
	$(BIN)/python -m tests.page.screenshots

ops-test: $(VENV)/dev.stamp  ## load tests, Prometheus, Compose and Kubernetes for real (two minutes)
	$(BIN)/pytest -m ops

image-test: $(VENV)/dev.stamp  ## build the images and ask the result a question (as root; minutes)
	$(BIN)/pytest -m image -o faulthandler_timeout=1200

kernel-test: $(VENV)/dev.stamp  ## kernels under sanitizers, and ARM64's emulated (a minute)
	$(BIN)/pytest -m kernels -o faulthandler_timeout=600

cuda-kernels: $(NVCC)/nvcc.stamp  ## the kernels for a GPU, compiled by nvcc and g++ (no GPU is needed)
	$(NVCC)/bin/python -m engine.kernels.cuda

ray-test: $(VENV)/ray.stamp  ## the service and bulk files on a local Ray cluster (minutes)
	$(BIN)/pytest -m ray -o faulthandler_timeout=600

baselines-test: $(VENV)/dev.stamp $(BASELINES)/baselines.stamp  ## transformers 4.57, optimum and CTranslate2 beside ours
	BASELINES=$(BASELINES) $(BIN)/pytest -m baselines

finetune-test: $(VENV)/dev.stamp  ## docs/finetune.md with 500 questions, spaced and not (minutes)
	$(BIN)/pytest -m finetune -o faulthandler_timeout=1800

openapi: $(VENV)/dev.stamp  ## accept what changed in the OpenAPI document
	$(BIN)/pytest tests/service/test_openapi.py --accept

client: $(VENV)/dev.stamp  ## the Python client as a wheel in dist/
	$(BIN)/pip wheel -q --no-deps --wheel-dir dist ./client

wheel: $(VENV)/wheel.stamp  ## the service with its kernels and model as wheels in dist/: x86-64 and ARM64
	$(BIN)/python -P -m deploy.wheels

wheel-test: $(VENV)/dev.stamp $(VENV)/wheel.stamp  ## build the wheel and serve from it (minutes)
	$(BIN)/pytest -m wheel -o faulthandler_timeout=900

soak: $(VENV)/dev.stamp  ## faults and loads for tens of minutes; REQUESTS=50000 for a shorter one
	SOAK_REQUESTS=$(REQUESTS) $(BIN)/pytest -m soak -s -o faulthandler_timeout=0

loadtest: $(VENV)/dev.stamp  ## find the knee of a server started for it; report in runs/loadtest
	$(BIN)/python -m loadtest rate

lint: $(VENV)/dev.stamp  ## format, lint and type check
	$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy

bench: $(VENV)/dev.stamp $(BASELINES)/baselines.stamp  ## our engine beside others; ARGS=--quick to try it
	$(BIN)/python -m bench.engines --baselines-python $(BASELINES)/bin/python $(ARGS)

bench-levels: $(VENV)/dev.stamp $(BASELINES)/baselines.stamp  ## ours and CTranslate2 at every level of the processor
	$(BIN)/python -m bench.engines.by_level -- --baselines-python $(BASELINES)/bin/python $(ARGS)

bench-servers: $(VENV)/dev.stamp $(BASELINE_SERVERS)/baselines.stamp  ## beside LitServe and BentoML; ARGS=--quick
	$(BIN)/python -m bench.servers --baselines-python $(BASELINE_SERVERS)/bin/python $(ARGS)

train: $(VENV)/dev.stamp  ## train the bundled model anew in runs/mini, or resume (an hour or more)
	test -d data-fresh || $(BIN)/python -m training data --evaluation 1000 --seed 1 --out data-fresh
	$(BIN)/python -m training train --data data-fresh --compile $(ARGS)

export: $(VENV)/dev.stamp  ## the checkpoint of runs/mini as the bundle in models/, with its figures
	$(BIN)/python -m model_export export runs/mini --out $(BUNDLE) --version 2.1.0 \
		--questions data-fresh/interpolate/algebra__linear_1d.txt
	test -d data-calibration || $(BIN)/python -m training data --evaluation 600 --test 2000 \
		--seed 2 --out data-calibration
	$(BIN)/python -m training calibrate $(BUNDLE) --data data-calibration \
		--out runs/mini/calibration.json
	$(BIN)/python -m model_export describe $(BUNDLE) --calibration runs/mini/calibration.json
	$(MAKE) evaluate
	$(BIN)/python -m model_export describe $(BUNDLE) --evaluation evaluation/report.json

evaluate: $(VENV)/dev.stamp  ## score the bundled model on fresh questions; report in evaluation/
	test -d data-fresh || $(BIN)/python -m training data --evaluation 1000 --seed 1 --out data-fresh
	$(BIN)/python -m training evaluate $(BUNDLE) --data data-fresh --limit 10000 --report evaluation

lock: $(VENV)/dev.stamp  ## resolve requirements/*.txt anew from pyproject.toml
	$(LOCK) --extra cpu --generate-hashes $(SLIM) --output-file requirements/serve.txt
	$(LOCK) --extra cpu --extra otel --generate-hashes --constraint requirements/serve.txt $(SLIM) \
		--output-file requirements/otel.txt
	$(LOCK) --extra gpu --extra otel --generate-hashes --constraint requirements/otel.txt $(SLIM) \
		--output-file requirements/serve-gpu.txt
	$(LOCK) --extra cpu --extra otel --extra train --extra export --extra dev --group loadtest \
		--constraint requirements/serve.txt --excludes requirements/excludes.txt \
		--output-file requirements/dev.txt
	$(LOCK) --extra cpu --extra otel --extra convert --generate-hashes \
		--constraint requirements/dev.txt --output-file requirements/convert.txt
	$(LOCK) --extra cpu --extra ray --generate-hashes --constraint requirements/dev.txt \
		--output-file requirements/ray.txt
	$(COMPILE) --group loadtest --generate-hashes --constraint requirements/dev.txt \
		--output-file requirements/loadtest.txt
	$(COMPILE) --group browser --generate-hashes --constraint requirements/dev.txt \
		--output-file requirements/browser.txt
	echo 'setuptools>=80' | $(COMPILE) - --generate-hashes --output-file requirements/build.txt
	$(COMPILE) --group cuda-kernels --generate-hashes \
		--output-file requirements/cuda-kernels.txt
	$(COMPILE) --group wheel --generate-hashes --constraint requirements/dev.txt \
		--output-file requirements/wheel.txt
	$(COMPILE) requirements/baselines.in --excludes requirements/excludes.txt \
		--output-file requirements/baselines.txt
	$(COMPILE) requirements/baselines-servers.in \
		--output-file requirements/baselines-servers.txt

clean:  ## remove the virtual environments
	rm -rf $(VENV) $(BASELINES) $(BASELINE_SERVERS) $(NVCC)

KERNELS := $(wildcard engine/kernels/*.[ch])

$(VENV)/serve.stamp: requirements/serve.txt requirements/build.txt pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --require-hashes --no-deps -r requirements/serve.txt -r requirements/build.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/serve.stamp
	$(BIN)/pip install -q -r requirements/dev.txt
	touch $@

$(VENV)/browser.stamp: requirements/browser.txt $(VENV)/dev.stamp
	$(BIN)/pip install -q --require-hashes -r requirements/browser.txt
	touch $@

$(VENV)/wheel.stamp: requirements/wheel.txt $(VENV)/serve.stamp
	$(BIN)/pip install -q --require-hashes -r requirements/wheel.txt
	touch $@

$(BASELINES)/baselines.stamp: requirements/baselines.txt
	$(PYTHON) -m venv $(BASELINES)
	$(BASELINES)/bin/pip install -q -r requirements/baselines.txt
	touch $@

# Its own environment, because CUDA's runtime there is older than that of the extra `gpu`.
$(NVCC)/nvcc.stamp: requirements/cuda-kernels.txt
	$(PYTHON) -m venv $(NVCC)
	$(NVCC)/bin/pip install -q --require-hashes -r requirements/cuda-kernels.txt
	touch $@

$(BASELINE_SERVERS)/baselines.stamp: requirements/baselines-servers.txt
	$(PYTHON) -m venv $(BASELINE_SERVERS)
	$(BASELINE_SERVERS)/bin/pip install -q -r requirements/baselines-servers.txt
	touch $@

$(VENV)/ray.stamp: requirements/ray.txt $(VENV)/dev.stamp
	$(BIN)/pip install -q --require-hashes -r requirements/ray.txt
	touch $@
