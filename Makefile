# plateseal: what a developer runs. `make demo` and `make test` are all that a new user needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What `make demo` plays: your own clip and models, as in `make demo CLIP=road.mp4 MODELS=models`. Left out, it
# plays the rendered clip that comes with plateseal, with the built-in models.
CLIP ?=
TRUTH ?=
MODELS ?=
WORKDIR ?=

.PHONY: demo test check docs bench train train-check torture soak dist deb sbom arm64 newest format clean

$(VENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,postgres,s3]'
	touch $(VENV)

demo: $(VENV)
	$(BIN)/plateseal demo $(if $(CLIP),--clip $(CLIP)) $(if $(TRUTH),--truth $(TRUTH)) \
		$(if $(MODELS),--models $(MODELS)) $(if $(WORKDIR),--workdir $(WORKDIR))

# The whole suite, in several processes; `make check` has it run under coverage. Bytecode is kept, whatever the shell
# says: the suite starts hundreds of processes, and each would compile the package again.
COVERAGE ?=
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)
	$(BIN)/python $(COVERAGE) -m pytest -p tests.side_by_side --processes auto

# Everything that must hold before a change lands; offline.
check: $(VENV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/coverage erase
	$(MAKE) test COVERAGE="-m coverage run"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/python tests/branch_coverage.py 90 wire disk keys seal spool upload

# The parts of docs/CONFIG.md, METRICS.md and EXIT-CODES.md that come from the code.
docs: $(VENV)
	$(BIN)/python -m tests.documents

# What is promised about speed, memory and accuracy, measured; hours on two cores. Some rows by name: make bench
# ROWS="sealing car-park". One that was cut off goes on with BENCH=--resume.
BENCH ?=
bench: $(VENV)
	$(BIN)/python -m tests.bench $(ROWS) $(BENCH)

# The built-in models, from nothing to files and cards, in an environment of its own; hours on two cores, and it says how
# many. Stop it and start it again as you like: what is done lies in RUNS, which `make clean` leaves alone.
DATA ?= ../shared/data
PUBLIC ?= ../shared/models/cct_xs_v1_global.onnx
RUNS ?= runs
TRAIN ?=
TRAIN_VENV ?= .venv-train

train: $(TRAIN_VENV)
	$(TRAIN_VENV)/bin/python -m models.training.train --data $(DATA) --public-reader $(PUBLIC) --runs $(RUNS) $(TRAIN)

# What needs PyTorch: networks, loaders, checkpoints, export.
train-check: $(TRAIN_VENV)
	$(TRAIN_VENV)/bin/python -m pytest -q models/training/check_networks.py

$(TRAIN_VENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TRAIN_VENV)
	$(TRAIN_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]' pytest
	touch $(TRAIN_VENV)

# The long campaigns, about two hours; some of them by name: make torture ROWS="kills proxy". One that was cut off goes
# on with TORTURE=--resume.
ROWS ?=
TORTURE ?=
torture: $(VENV)
	$(BIN)/python -m tests.torture $(ROWS) $(TORTURE)

soak: $(VENV)
	$(BIN)/python -m tests.torture soak

# What is built is the same, byte for byte, whoever builds it: one time in all of it, and pinned versions of the tools.
FROM_SOURCE = SOURCE_DATE_EPOCH=$$($(PYTHON) -m deb.source_date) PIP_CONSTRAINT=constraints.txt

# The source archive, and the wheel from it.
dist: $(VENV)
	$(FROM_SOURCE) $(BIN)/python -m build --outdir dist .

# The Debian package for this machine, or for another: make deb DEB_ARCH=arm64 DEB_PYTHON=3.13. Needs elfutils, g++, nasm
# and python3-dev, for ARM g++-aarch64-linux-gnu. The first one compiles OpenCV, for a quarter of an hour of processor
# time; what came out stays in build/compiled.
DEB_ARCH ?= $(shell dpkg --print-architecture 2>/dev/null || echo amd64)
DEB_PYTHON ?= 3.11
deb: $(VENV)
	rm -rf build/deb
	$(FROM_SOURCE) $(BIN)/python -m build --wheel --outdir build/deb .
	$(BIN)/python -m deb.build --wheel build/deb/plateseal-*.whl --arch $(DEB_ARCH) --python $(DEB_PYTHON) --out dist

# Bills of materials (CycloneDX) of the wheel's and of the package's closure, in dist.
sbom: deb
	$(BIN)/python -m deb.sbom --wheel build/deb/plateseal-*.whl --out dist

# Which newest versions fail, one line a library; an hour or more if one does. What to try: make newest NEWEST="--only
# cbor2 tests/unit/wire". One that was cut off goes on where it was.
NEWEST ?=
newest: $(VENV)
	$(BIN)/python -m tests.newest $(NEWEST)

# The package for 64-bit ARM, installed and run on an emulated Cortex-A72 and Cortex-A76. As root, with debootstrap and
# qemu-user-static. Four minutes of processor time; the first time another four for a Debian root, which stays in
# build/ci/system, and what compiling OpenCV takes.
arm64: $(VENV)
	DEB_COMPRESSION=gzip $(MAKE) deb DEB_ARCH=arm64
	PLATESEAL_SYSTEM_DIR=$(CURDIR)/build/ci/system $(BIN)/python -m pytest -q -rs tests/system/test_emulated.py

format: $(VENV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(TRAIN_VENV) build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
