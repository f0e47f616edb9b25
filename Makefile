# DayCache's targets. The environment is .venv beside this file; a second call installs nothing.
# Needs python3 (3.10 or newer, with the venv module) and nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/daycache-installed
PYTEST := $(BIN)/python -m pytest
# Which of the suites exist; a suite is a folder below tests/.
suite = $(wildcard tests/$(1))
SHORT := -m 'not slow'

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "DayCache needs Python 3.10 or newer; write make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo "the venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@

.PHONY: install
install: $(STAMP) ## The environment in .venv, with everything that tests and benches need

.PHONY: demo
demo: $(STAMP) ## A trading day on this machine: with and without prefetching, and a primary killed (3 minutes)
	$(BIN)/python -m bench.demo

.PHONY: demo-short
demo-short: $(STAMP) ## The same with a shorter day (1 minute)
	$(BIN)/python -m bench.demo --quick

.PHONY: test
test: lint test-house test-unit test-models test-simulation test-kill test-servers test-postgres test-cluster ## Everything that decides whether a change is good (10 minutes)
	@echo "all suites passed"

.PHONY: test-long
test-long: lint ## The same and the slow tests too: more seeds, longer kills, larger worlds (longer)
	$(PYTEST) tests

.PHONY: test-house
test-house: $(STAMP) ## The rules of the house: floors, sizes, names, documentation, doctests, README examples
	$(PYTEST) -q $(SHORT) tests/house

.PHONY: test-unit
test-unit: $(STAMP) ## Unit tests, and conformance of the cache in memory: no Ray, no sockets
	$(PYTEST) -q $(SHORT) tests/unit
	$(if $(call suite,conformance),$(PYTEST) -q -m 'not slow and not cluster' tests/conformance,@echo "no conformance tests yet")

.PHONY: test-models
test-models: $(STAMP) ## Structures beside plain models
	$(if $(call suite,models),$(PYTEST) -q $(SHORT) tests/models,@echo "no model tests yet")

.PHONY: test-simulation
test-simulation: $(STAMP) ## The protocol in a seeded world of faults
	$(if $(call suite,simulation),$(PYTEST) -q $(SHORT) tests/simulation,@echo "no simulation tests yet")

.PHONY: simulation
simulation: $(STAMP) ## 3 000 seeds of the simulated world in two processes, and each rule switched off (3 minutes)
	nice $(BIN)/python -m daycache_ray.simulation --seeds 3000 --workers 2
	$(BIN)/python -m daycache_ray.simulation --mutations

.PHONY: test-kill
test-kill: $(STAMP) ## Stores whose owner is killed
	$(if $(call suite,kill),$(PYTEST) -q $(SHORT) tests/kill,@echo "no kill tests yet")

.PHONY: test-servers
test-servers: $(STAMP) ## Loaders against an HTTP server, and Redis where it is installed
	$(if $(call suite,servers),$(PYTEST) -q $(SHORT) tests/servers,@echo "no server tests yet")

.PHONY: test-postgres
test-postgres: $(STAMP) ## Loading from a PostgreSQL of its own, where one is installed
	$(if $(call suite,postgres),$(PYTEST) -q $(SHORT) tests/postgres,@echo "no PostgreSQL tests yet")

.PHONY: test-cluster
test-cluster: $(STAMP) ## A real Ray on this machine, the conformance suite on it too
	$(if $(call suite,cluster),$(PYTEST) -q $(SHORT) tests/cluster,@echo "no cluster tests yet")
	$(if $(call suite,conformance),$(PYTEST) -q -m 'not slow and cluster' tests/conformance,@echo "no conformance tests yet")

.PHONY: lint
lint: $(STAMP) ## ruff and strict mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: bench
bench: $(STAMP) ## Measurements, beside Redis, memcached and diskcache where they are installed (minutes)
	$(BIN)/python -m bench.run

.PHONY: bench-short
bench-short: $(STAMP) ## The same with fewer and shorter rounds (1 minute)
	$(BIN)/python -m bench.run --quick

.PHONY: bench-policies
bench-policies: $(STAMP) ## Eviction policies on recorded traces, where ../shared/traces has some (minutes)
	nice $(BIN)/python -m bench.policies

.PHONY: bench-policies-short
bench-policies-short: $(STAMP) ## The same on the short traces (1 minute)
	nice $(BIN)/python -m bench.policies --quick

.PHONY: wheel
wheel: $(STAMP) ## The wheel in dist/
	rm -rf build
	$(BIN)/python -m build --wheel

.PHONY: clean
clean: ## Everything that can be made again, the environment included
	rm -rf $(VENV) build dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
