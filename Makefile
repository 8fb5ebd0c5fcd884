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

.PHONY: help setup search refine confirm report sweep agent panda lecture bench gpu-check docs test test-fast test-all lint format clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | \
		awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv and install into it

# Of what pip says, one line that goes on: what it looks for, what it loads, what it installs.
PROGRESS = -v tty="$$(test -t 2 && echo 1)" ' \
	function say(text) { if (tty) printf "\r\033[K  %s", text; else print "  " text; fflush() } \
	/^(Collecting|Requirement already)/ { n++; if (tty || n % 20 == 1) say("packages looked up: " n) } \
	/^ *Downloading/ { if (tty || /[0-9][0-9][0-9]\.?[0-9]* MB/) say("loading " $$2 " " $$3 $$4) } \
	/^Installing collected/ { say("installing what was found: up to a minute") } \
	END { if (tty) print "" }'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Caviar needs Python 3.11 or newer; write make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "setting up $(VENV): torch, Lightning and the rest, one to three minutes the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@{ $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
		-c constraints.txt -e '.[dev]' || touch $(VENV)/.failed; } | awk $(PROGRESS)
	@if [ -e $(VENV)/.failed ]; then rm $(VENV)/.failed; exit 1; fi
	@touch $(READY)

search: $(READY)  ## coarse, fine, finest, confirm: find a good setting and explain it
	@$(BIN)/caviar search $(NAMED) $(ARGS)

refine: $(READY)  ## compute the next stage's ranges from all finished trials
	@$(BIN)/caviar refine $(NAMED) $(ARGS)

confirm: $(READY)  ## run the best settings again with fresh seeds, then open the test set once
	@$(BIN)/caviar confirm $(NAMED) $(ARGS)

report: $(READY)  ## write runs/<study>/report.html: what mattered, whether to believe it
	@$(BIN)/caviar report $(NAMED) $(ARGS)

lecture: $(READY)  ## put the lecture's claims to the test: docs/lecture.md
	@$(BIN)/python benchmarks/lecture/main.py $(ARGS)

sweep: $(READY)  ## register the next stage as a W&B sweep: STUDY= STAGE=
	@$(BIN)/caviar sweep $(NAMED) $(ARGS)

agent: $(READY)  ## run trials of a W&B sweep, one agent per GPU, or N=
	@$(BIN)/caviar agent $(NAMED) $(if $(N),-n $(N)) $(ARGS)

panda: $(READY)  ## look after one model: nudge it while it trains, go back
	@$(BIN)/caviar panda start $(NAMED) $(ARGS)

bench: $(READY)  ## measure start-up, training and search on this machine
	@$(BIN)/python benchmarks/speed.py $(ARGS)

gpu-check: $(READY)  ## does everything run on this machine's GPU: a table
	@$(BIN)/python benchmarks/gpu_check.py $(ARGS)

docs: $(READY)  ## build the documentation as a site: build/site/index.html
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo build/site/index.html

# Workers that have nothing left take tests of the others, so they end together.
PYTEST = $(BIN)/python -m pytest --dist worksteal
# Half of the time of a slow test passes with waiting for processes that it has started.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(16, 2 * os.cpu_count()))')

test: $(READY)  ## run the tests, in some minutes
	@$(PYTEST) -n $(WORKERS) -m "not nightly" $(ARGS)

test-fast: $(READY)  ## run those that start no process, in one to three minutes
	@$(PYTEST) -n auto -m "not slow and not nightly" $(ARGS)

test-all: $(READY)  ## run all, also what is only worth a night
	@$(PYTEST) -n $(WORKERS) $(ARGS)

lint: $(READY)  ## check format, lint, types, and which room imports which
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(READY)  ## format the code and mend what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## remove .venv and caches, never runs/
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
