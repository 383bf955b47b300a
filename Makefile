# One virtual environment in .venv, made on first use and renewed when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Workers, more than a small machine has cores: tests wait for servers, disks and processes half of the time.
JOBS ?= 4

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install azurite demo test lint format soak bench docs clean

help:
	@echo "make demo    two versions of real files: add, commit, push, clone, checkout, compared with diff -r"
	@echo "make test    lint, types and every test, each in its short form"
	@echo "make soak    the long forms: crashes, races and properties, many rounds (ROUNDS=20, SEED=random)"
	@echo "make bench   the speed targets on this machine (ONLY=small,startup RUNS=5)"
	@echo "make docs    write the generated reference pages"
	@echo "make lint    ruff and mypy only"

install: $(READY)

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[test]'
	touch $(READY)

# Microsoft's emulator of Azure's blob storage, for the tests that need one; without npm they are skipped.
# Of this version, since later ones need a newer node than Debian has.
AZURITE_VERSION := 3.35.0
AZURITE := $(VENV)/azurite/.ready-$(AZURITE_VERSION)

azurite: $(AZURITE)

$(AZURITE): | $(READY)
	@if command -v npm >/dev/null; then \
		npm install --silent --no-audit --no-fund --omit=optional --prefix $(VENV)/azurite azurite@$(AZURITE_VERSION) \
		&& touch $@ || echo "make: npm could not bring azurite; what needs it is skipped"; \
	else \
		echo "make: there is no npm to bring azurite; what needs it is skipped"; \
	fi

demo: $(READY)
	$(BIN)/python demo/demo.py

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict artifactvc

test: lint azurite
	$(BIN)/python -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadscope) $(ARGS)

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Prints its seed and count first, so that a failure can be run again: make soak SEED=... ROUNDS=...
ROUNDS ?= 20
SEED ?= $(shell $(PYTHON) -c 'import secrets; print(secrets.randbelow(2**32))')
soak: $(READY)
	@echo "soak: seed $(SEED), $(ROUNDS) times the rounds of make test"
	PYTHONHASHSEED=0 AVC_SOAK=$(ROUNDS) AVC_SEED=$(SEED) $(BIN)/python -m pytest --hypothesis-seed=$(SEED) --timeout 3600 $(ARGS)
	@echo "soak: passed with seed $(SEED), $(ROUNDS) times the rounds"

bench: $(READY)
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS)) $(ARGS)

docs: $(READY)
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
