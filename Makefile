# Needs Python 3.11 or newer and make. Everything else comes into .venv.
PYTHON ?= python3
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --upgrade --no-annotate --custom-compile-command 'make lock'

.PHONY: help setup run test check fix reference lock bench clean

help: ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready ## make .venv with everything in it, exactly as locked

.venv/ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cartwheel needs Python 3.11 or newer")'
	@echo "Making .venv: a minute or two, once."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## the demo: a server with an account to try, and a story
	$(BIN)/cartwheel demo

test: check ## the whole suite, on SQLite and PostgreSQL
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

check: setup ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: setup ## put the format right, and what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: setup ## write docs/reference/ anew from the code
	$(BIN)/cartwheel reference docs/reference

lock: setup ## take the newest versions of all dependencies
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --group dev -o requirements-dev.lock

bench: setup ## the speed of API, mail and sequences on both engines, some minutes (needs wrk)
	for engine in sqlite postgresql; do \
	  $(BIN)/python bench/api.py --engine $$engine --leads 10000 --seconds 10 && \
	  $(BIN)/python bench/mail.py --engine $$engine --mails 10000 && \
	  $(BIN)/python bench/engine.py --engine $$engine --sleepers 100000 || exit 1; \
	done

clean: ## away with everything that was made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
