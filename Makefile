# Podway's verbs. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
BIN := .venv/bin
PYTHON := $(BIN)/python
BUILDS ?= .aws-sam
DIST ?= dist
MACHINE ?= $(shell uname -m)
STAMP := .venv/.complete
REQUIREMENTS := $(wildcard requirements/*.txt layers/thirdparty/requirements.txt) .ci/setup pyproject.toml

.PHONY: help setup check format test demo build wheel agent image bench simulate soak rooms solver corpus clean

help: ## List the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## Install what this machine lacks (Debian packages are named first)
$(STAMP): $(REQUIREMENTS)
	@.ci/setup
	touch $@

check: $(STAMP) ## Lint, format, types, imports: under a minute
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint template.yaml

format: $(STAMP) ## Format the code and mend what lint can mend
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(STAMP) ## Everything that must hold
	@$(BIN)/pytest

demo: $(STAMP) ## Watch a cluster route, lose a forwarder and heal, on this machine (DEPLOYED=1: sam deploy, Lambda's runtime)
	@$(BIN)/podway-lab demo $(if $(DEPLOYED),--deployed)

build: $(STAMP) ## Build functions, and layers that serve both processors, with the SAM CLI (needs a Python 3.13)
	@test -x .sam-venv/bin/sam || { echo "make build: no Python 3.13 here; install one and run 'make setup' again" >&2; exit 1; }
	export PATH="$$PWD/.sam-venv/bin:$$PATH" SAM_CLI_TELEMETRY=0
	sam validate --lint
	sam build --build-dir $(BUILDS)/build

wheel: $(STAMP) ## Build dist/podway-VERSION-py3-none-any.whl: the command; with its extras the agent and the lab
	@rm -rf build/lib # or what has gone from the sources would stay in the wheel
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir $(DIST) .

agent: $(STAMP) ## Build dist/podway-agent.pyz: the node agent in one file, for Python 3.11 to 3.13
	@$(PYTHON) node_agent/zipapp/build.py dist/podway-agent.pyz

image: agent ## Build dist/podway-agent-$(MACHINE).tar, the agent's container image, without a container engine
	@$(PYTHON) node_agent/image/build.py dist/podway-agent.pyz dist/podway-agent-$(MACHINE).tar $(MACHINE)

bench: $(STAMP) ## Measure, write docs/bench (ONLY="name ...": some sections)
	@$(PYTHON) -m tests.bench $(ONLY)

simulate: $(STAMP) ## Simulate the control plane under faults (SEEDS=200; FIRST=seed replays)
	@$(PYTHON) -m tests.simulation $(or $(SEEDS),200) $(FIRST)

soak: $(STAMP) ## Play the long seeded tests, go on where a run was cut, write docs/soak (ONLY="name ...")
	@$(PYTHON) -m tests.soak $(ONLY)

rooms: $(STAMP) ## Draw the pictures of docs/architecture.md anew, from the imports
	@$(PYTHON) -m tests.unit.architecture.rooms

solver: $(STAMP) ## Install OR-tools too (270 MB), for `make corpus` and for the optimality gaps of `make bench`
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/solver.txt

corpus: solver ## Let CP-SAT prove the optima that tests/oracle/corpus.json keeps
	@$(PYTHON) -m tests.oracle.corpus

clean: ## Remove what was built or cached here
	@rm -rf .aws-sam build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
