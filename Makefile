# What people and CI type. `make` alone lists the verbs; CONTRIBUTING.md says when to use which.
#
#   make setup PYTHON=python3.12     another interpreter (3.11 or 3.12)
#   make setup TORCH=cpu             torch without CUDA: about 1 GB instead of 5; remembered until TORCH=full is asked for
#   make test ARGS='tests/unit -k surge'
PYTHON ?= python3.11
TORCH ?= $(or $(shell cat .venv/torch 2>/dev/null),full)
ARGS ?=
$(if $(filter full cpu,$(TORCH)),,$(error TORCH is full or cpu, not '$(TORCH)'))

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed-$(TORCH)
PEERS := .venv-peers

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long check format services services-stop bench chaos bench-peers train pictures reference lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) ## a virtual environment with everything pinned; instant when nothing changed

$(INSTALLED): pyproject.toml requirements.lock scripts/install.sh models/kernels.c
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here. Install Python 3.11, or name another: make setup PYTHON=python3.12" >&2; exit 2; }
	@# torch with CUDA and torch without have the same version: only a new environment changes one for the other.
	@test "$$(cat $(VENV)/torch 2>/dev/null || echo $(TORCH))" = $(TORCH) || rm -rf $(VENV)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make virtual environments; on Debian install python3-venv" >&2; exit 2; }
	scripts/install.sh $(PY) $(TORCH) dev
	@rm -f $(VENV)/installed-*
	@echo $(TORCH) >$(VENV)/torch
	@touch $@

demo: setup ## the whole road on this machine, with a demo stream; Ctrl-C ends it
	$(VENV)/bin/groundswell demo $(ARGS)

test: setup ## all tests; what needs Kafka, Redis or a browser runs after `make services`
	$(if $(ARGS),$(PY) -m pytest $(ARGS),scripts/test.sh $(PY))

test-long: setup ## all tests, the ones of minutes too
	GROUNDSWELL_TEST_LONG=1 $(if $(ARGS),$(PY) -m pytest $(ARGS),scripts/test.sh $(PY))

check: setup ## formatting, lint and types, as CI sees them
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy scripts/*.py

format: setup ## put the formatting right
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

services: ## install and start Apache Kafka and Redis for the tests; installs a browser for them too
	scripts/services.sh start

services-stop: ## stop both
	scripts/services.sh stop

bench: setup ## questions with measured answers; one of them: make bench ONE=tagger ARGS='--peers'
	$(VENV)/bin/groundswell bench $(ONE) $(if $(ONE),$(ARGS),--help)

chaos: setup ## break a running installation on purpose, the long form: 100 kills, 200,000 documents; needs `make services`, takes about an hour
	$(VENV)/bin/groundswell chaos --kills 100 --docs 200000 $(ARGS)

bench-peers: $(PEERS)/installed ## what `groundswell bench tagger --peers` compares with, in an environment of its own

# It sees what .venv holds, so that all run on the same torch, and adds three packages (310 MB) that the product never needs.
$(PEERS)/installed: $(INSTALLED) bench/peers.txt
	@rm -rf $(PEERS)
	$(PY) -m venv $(PEERS)
	@$(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >$(PEERS)/project.pth
	@mv $(PEERS)/project.pth $$($(PEERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/peers.txt
	@touch $@

train: setup ## the bundled model from the data sets in a folder: make train DATA=DIR
	@test -n "$(DATA)" || { echo "make: say where the data sets are: make train DATA=DIR" >&2; exit 2; }
	$(VENV)/bin/groundswell train --data $(DATA) $(ARGS)

pictures: setup ## the pictures of the README anew, from a running demo; needs the browser of `make services`
	$(PY) scripts/pictures.py

cases: setup ## the pictures of docs/cases.md anew, and the figures it quotes; needs the browser of `make services`
	$(PY) scripts/cases.py

reference: setup ## docs/reference/ anew, from the code
	$(PY) scripts/reference.py

# For every platform and both Pythons at once, with hashes and without addresses. setuptools builds the project, uv
# installs it: neither is a dependency, both are pinned.
lock: ## pin the newest versions that pyproject.toml allows
	printf 'setuptools>=77\nuv>=0.9\n' | $(PY) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
	  --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	  pyproject.toml - --output-file requirements.lock
