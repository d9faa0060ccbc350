# Needs Python 3.11 or newer and make. Everything else comes into .venv.
PYTHON ?= python3
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --upgrade --no-annotate --custom-compile-command 'make lock'

# Hundreds of tests start the program: it is not to be compiled for each of them.
unexport PYTHONDONTWRITEBYTECODE

# What the pages load, built from the files that each build reads.
BUILT := src/cartwheel/ui/static/manifest.json
DRAWN := $(shell find assets/src src/cartwheel/ui/templates -type f) src/cartwheel/ui/menu.py assets/build.mjs

.PHONY: help setup assets messages run test check fix reference lock bench screenshots clean

help: ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready $(BUILT) ## make .venv with everything in it, exactly as locked, and what the pages load

.venv/ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cartwheel needs Python 3.11 or newer")'
	@echo "Making .venv: a minute or two, once."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

assets: $(BUILT) ## build what the pages load

$(BUILT): assets/node_modules/.package-lock.json $(DRAWN)
	$(BIN)/node assets/build.mjs

assets/node_modules/.package-lock.json: assets/package-lock.json .venv/ready
	cd assets && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

messages: .venv/ready ## collect the pages' texts, and put new ones into each language's file
	$(BIN)/pybabel --quiet extract --width=120 --no-location --omit-header --mapping-file=assets/babel.ini --output-file=src/cartwheel/ui/locale/texts.pot src/cartwheel
	for file in src/cartwheel/ui/locale/*.po; do \
	  $(BIN)/pybabel --quiet update --width=120 --no-fuzzy-matching --ignore-obsolete --input-file=src/cartwheel/ui/locale/texts.pot --output-file=$$file --locale=$$(basename $$file .po) --omit-header; \
	done

run: setup ## the demo: a server with an account to try, and a story
	$(BIN)/cartwheel demo

test: check ## the whole suite, on SQLite and PostgreSQL
	$(BIN)/pytest --numprocesses=4 --dist=worksteal

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

screenshots: setup ## take the README's pictures anew from the demo (needs Chromium)
	$(BIN)/python bench/screenshots.py

clean: ## away with everything that was made
	rm -rf .venv src/cartwheel/ui/static assets/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
