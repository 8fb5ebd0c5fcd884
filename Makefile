# Every target sets up .venv first, when it is missing or older than pyproject.toml.
# ARGS="…" hands Hydra overrides to the command behind a target:
#   make search ARGS="experiment=breast_cancer search.seed=1"
# STUDY=NAME and STAGE=NAME stand for search.study=NAME and search.stage=NAME:
#   make sweep STUDY=mine && make agent STUDY=mine N=4

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
N ?=
NAMED = $(if $(STUDY),search.study=$(STUDY)) $(if $(STAGE),search.stage=$(STAGE))

.PHONY: help setup train stage search refine confirm status worker sweep agent sync panda importance report lecture bench test test-fast lint format clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | \
		awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv and install into it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Caviar needs Python 3.11 or newer; write make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "setting up $(VENV): some minutes the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

train: $(READY)  ## train one model
	@$(BIN)/python train.py $(ARGS)

stage: $(READY)  ## draw and run one stage of random search
	@$(BIN)/python train.py -m $(NAMED) $(ARGS)

search: $(READY)  ## coarse, fine, finest, confirm: find a good setting and explain it
	@$(BIN)/caviar search $(NAMED) $(ARGS)

refine: $(READY)  ## compute the next stage's ranges from all finished trials
	@$(BIN)/caviar refine $(NAMED) $(ARGS)

confirm: $(READY)  ## run the best settings again with fresh seeds, then open the test set once
	@$(BIN)/caviar confirm $(NAMED) $(ARGS)

status: $(READY)  ## how far a study is
	@$(BIN)/caviar status $(NAMED) $(ARGS)

importance: $(READY)  ## how much each hyperparameter matters, beside the lecture's tiers
	@$(BIN)/caviar importance $(NAMED) $(ARGS)

report: $(READY)  ## write runs/<study>/report.html: what mattered, whether to believe it
	@$(BIN)/caviar report $(NAMED) $(ARGS)

lecture: $(READY)  ## put the lecture's claims to the test: docs/lecture.md
	@$(BIN)/python benchmarks/lecture/main.py $(ARGS)

worker: $(READY)  ## take trials of a study that another machine drives
	@$(BIN)/caviar worker $(NAMED) $(ARGS)

sweep: $(READY)  ## register the next stage as a W&B sweep: STUDY= STAGE=
	@$(BIN)/caviar sweep $(NAMED) $(ARGS)

agent: $(READY)  ## run trials of a W&B sweep, one agent per GPU, or N=
	@$(BIN)/caviar agent $(NAMED) $(if $(N),-n $(N)) $(ARGS)

sync: $(READY)  ## upload to W&B what was trained offline
	@$(BIN)/caviar sync $(NAMED) $(ARGS)

panda: $(READY)  ## look after one model: nudge it while it trains, go back
	@$(BIN)/caviar panda start $(NAMED) $(ARGS)

bench: $(READY)  ## measure start-up, training and search on this machine
	@$(BIN)/python benchmarks/speed.py $(ARGS)

test: $(READY)  ## run all tests
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(READY)  ## run the tests that start no processes
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

lint: $(READY)  ## check format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(READY)  ## format the code and mend what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## remove .venv and caches, never runs/
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
