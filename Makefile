# plateseal: what a developer runs. `make demo` and `make test` are all that a new user needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What `make demo` plays: your own clip and models, as in `make demo CLIP=road.mp4 MODELS=models`. Left out, it
# takes labelled photographs and models beside the checkout where they are, else a rendered clip and toy models.
CLIP ?=
TRUTH ?=
MODELS ?=
WORKDIR ?=
SHARED := ../shared
DEMO := build/demo

.PHONY: demo test check bench torture format clean

$(VENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench,dev]'
	touch $(VENV)

ifeq ($(CLIP),)
ifneq ($(wildcard $(SHARED)/tools/make_clip.py),)
demo: CLIP := $(DEMO)/vehicles.mp4
demo: MODELS := $(or $(MODELS),$(SHARED)/models)
demo: $(VENV) $(DEMO)/vehicles.mp4
else
demo: CLIP := $(DEMO)/toys/clip.mp4
demo: MODELS := $(or $(MODELS),$(DEMO)/toys)
demo: $(VENV) $(DEMO)/toys/clip.mp4
endif
else
demo: $(VENV)
endif
	$(BIN)/plateseal demo --clip $(CLIP) $(if $(TRUTH),--truth $(TRUTH)) $(if $(MODELS),--models $(MODELS)) \
		$(if $(WORKDIR),--workdir $(WORKDIR))

$(DEMO)/vehicles.mp4: | $(VENV)
	mkdir -p $(DEMO)
	$(BIN)/python $(SHARED)/tools/make_clip.py $(SHARED)/data/openalpr-eu $@ --limit 12

$(DEMO)/toys/clip.mp4: tests/toy_models.py | $(VENV)
	$(BIN)/python -m tests.toy_models $(DEMO)/toys

test: $(VENV)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest

# Everything that must hold before a change lands; offline.
check: $(VENV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/python tests/branch_coverage.py 90 envelope seal spool upload

# How fast reads are sealed, and by how much they grow.
bench: $(VENV)
	$(BIN)/python -m agent.bench.sealing

# The long campaigns; minutes to an hour.
torture: $(VENV)
	$(BIN)/python -m tests.torture.fuzz --count 200000
	$(BIN)/python -m tests.torture.memory

format: $(VENV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
