# The tasks of this project. Needs make and a Python of 3.11 or later, nothing else: `make help`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install run test test-long test-unit test-fast check catalog bench demo lock clean

PY    := .venv/bin/python
STAMP := .venv/.installed
# A file of tests runs in one worker, so that what its tests share is made once; tests/conftest.py begins with the longest.
CORES := -n auto --dist loadfile --no-loadscope-reorder

QUICK := -p no:xdist -m "not slow and not long" --hypothesis-profile=quick
# Two processes, each of which imports its own half only: workers that all collect everything take as long again.
define side_by_side
$(PY) -m pytest $(QUICK) $(2) >.venv/second-half.txt 2>&1 & second=$$!; trap 'kill $$second 2>/dev/null' EXIT INT TERM; \
	$(PY) -m pytest $(QUICK) $(1); first=$$?; wait $$second; last=$$?; cat .venv/second-half.txt; exit $$((first + last))
endef

# uv otherwise trusts only the roots it brings along, which fails behind a company's own certificate authority.
export UV_SYSTEM_CERTS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## Make .venv with exactly the locked dependencies

run: install ## Start everything: database, API, workers, sandbox rail; options in ARGS="--port 9000"
	@exec .venv/bin/refundry up $(ARGS)

test: check ## Check, and run all tests but those that take minutes
	$(PY) -m pytest $(CORES) -m "not long" --durations=15

test-long: install ## Run the tests that take minutes: every step of every flow killed, a thousand races, kills of all programs
	$(PY) -m pytest $(CORES) -m long --durations=15

test-unit: install ## Run the quick ones of the tests that need no database, no network and no program
	@$(call side_by_side,tests/unit/service,tests/unit/workflows tests/unit/repository)

test-fast: install ## Run the unit tests and the quick ones of those that need a database
	@$(call side_by_side,tests/integration/service,tests/unit tests/integration/workflows tests/integration/repository)

check: install ## The static half of the tests, each step named: layout, lint, types, layers, migrations
	@echo "layout (ruff format)"
	@$(PY) -m ruff format --check --quiet .
	@echo "lint (ruff check)"
	@$(PY) -m ruff check --quiet .
	@echo "types (mypy, strict)"
	@$(PY) -m mypy --no-error-summary
	@echo "layers (import-linter)"
	@.venv/bin/lint-imports --no-logo
	@echo "locks of migrations (squawk)"
	@$(PY) -m tests.lint_migrations

catalog: install ## Write down the schema anew that `refundry check` compares with, after a migration was added
	$(PY) -m tests.write_catalog

bench: install ## Measure, in some six minutes; options in ARGS="--quick"
	$(PY) -m tests.bench $(ARGS)

demo: install ## A short guided tour in the terminal, against a running service
	$(PY) -m service.terminal.demo $(ARGS)

lock: install ## Choose versions anew and write requirements.lock
	$(PY) -m uv pip compile --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --upgrade --group dev pyproject.toml --output-file requirements.lock

clean: ## Remove .venv and caches; data directories stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The stamp says which lock the environment was made from: repeated calls cost nothing, a new lock or Makefile makes it again.
# uv comes first, by pip and by its hash from the lock itself; it then installs the rest, itself among it.
# The project is put on the path instead of being built: no build tool is needed, and an edit is seen at once.
$(STAMP): requirements.lock pyproject.toml Makefile
	@set -eu; \
	python=; \
	for candidate in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3; do \
	  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "No Python of 3.11 or later with venv was found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	if ! $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  rm -rf .venv; "$$python" -m venv .venv; \
	fi; \
	awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements.lock > .venv/uv.lock; \
	$(PY) -m pip install --quiet --require-hashes --no-deps -r .venv/uv.lock; \
	$(PY) -m uv pip sync --quiet --python $(PY) --require-hashes requirements.lock; \
	$(PY) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "refundry.pth").write_text(str(pathlib.Path.cwd()) + "\n")'; \
	printf '%s\n' '#!/bin/sh' 'exec "$$(dirname "$$0")/python" -P -m service "$$@"' > .venv/bin/refundry; \
	chmod +x .venv/bin/refundry; \
	touch $@
