# make demo: set up, train on the generated dataset, test, write the report.   make test: set up, run the tests.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
DEMO_CONFIG ?= configs/demo/pspnet_r18-d8_shapes.py
DEMO_DIR ?= work_dirs/demo
JOBS ?= 3

.PHONY: setup demo test docs wheel constraints cluster-test gpu gpu-wheels lint soak mutants clean
.DEFAULT_GOAL := demo

setup: $(VENV)/.ready

# An import of cv2 that fails lacks libGL: the headless wheel has the same files without that need.
$(VENV)/.ready: setup.py $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip
	$(PIP) install -c requirements/constraints.txt -r requirements/runtime.txt -r requirements/tests.txt \
		-r requirements/tests-app.txt -r requirements/docs.txt wheel
	$(PIP) install --no-deps -r requirements/tests-no-deps.txt
	$(PY) -c 'import cv2' 2>/dev/null || $(PIP) install --force-reinstall --no-deps \
		-c requirements/constraints.txt opencv-python-headless
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

# One thread: the network is small, and two that share a busy core wait for one another.
demo: export OMP_NUM_THREADS = 1
demo: setup
	$(PY) tools/train.py $(DEMO_CONFIG) --work-dir $(DEMO_DIR) --resume
	$(PY) tools/test.py $(DEMO_CONFIG) $(DEMO_DIR) --work-dir $(DEMO_DIR) \
		--report $(DEMO_DIR)/report.html
	@echo "The report: $(DEMO_DIR)/report.html"

# One thread a test process. On two cores three processes take 0.84 of the time of two: many tests wait.
test: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist worksteal tests \
		--ignore=tests/faults/cluster
	OMP_NUM_THREADS=1 $(PY) -m pytest -rs tests/faults/cluster

# The site, in build/site; a dead link or an unknown name fails.
docs: export NO_MKDOCS_2_WARNING = 1
docs: setup
	$(PY) -m mkdocs build --strict --quiet
	@echo "The site: build/site; to search in it: $(PY) -m http.server --bind 127.0.0.1 --directory build/site"

# The wheel with [all] in an environment of its own, used outside of the checkout.
wheel: setup
	PYTHON="$(PYTHON)" bash .ci/wheel

# Today's versions into requirements/constraints.txt; prints what changed.
constraints: setup
	$(PY) requirements/update_constraints.py

# Every kind of stop on a real Slurm, so many times; writes docs/reliability.csv. Needs root.
CLUSTER_TRIALS ?= 30
cluster-test: setup
	OMP_NUM_THREADS=1 SEGKIT_SOAK_KILLS=$(CLUSTER_TRIALS) $(PY) -m pytest -rs tests/faults/cluster

soak: setup
	OMP_NUM_THREADS=1 SEGKIT_SOAK_KILLS=200 $(PY) -m pytest tests/faults --ignore=tests/faults/cluster

# Faults put into a copy of the code, each of which the tests must notice.
mutants: setup
	$(PY) tests/contract/mutations.py

# All that a GPU has to say, in nine minutes: docs/cuda_extension.md. REHEARSE=1 is for a CPU.
gpu:
	PYTHON="$(PYTHON)" bash tools/benchmarks/gpu_check.sh

gpu-wheels:
	$(PYTHON) -m pip download -q --no-deps --only-binary=:all: --platform any \
		-d $(or $(WHEELS),gpu_wheels) -c requirements/constraints.txt -r requirements/gpu.txt

lint: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf build dist *.egg-info work_dirs/demo
