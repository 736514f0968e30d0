# The whole system on this machine. `make` alone prints this help.
# Needs Python 3.11 or newer with venv, and git; `make setup` installs the rest.

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
# Tests wait for servers more than they compute, so each core serves two workers.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(12, 2 * os.cpu_count()))')
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
MESSAGING := $(wildcard $(addprefix tests/integration/test_, relay_*.py replay*.py consumer_*.py parking.py \
	redrive.py settling.py malformed_amqp.py large_messages.py dead_letters.py held_rows.py \
	deleted_at_the_broker.py heartbeat_gaps.py))
STAMP := .venv/.set-up
LOCKS := requirements-dev.txt requirements.txt pyproject.toml
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links -q --custom-compile-command "make lock" pyproject.toml

SPHINX := $(BIN)/sphinx-build -q -W --keep-going -c docs -d .local/docs/doctrees

.DEFAULT_GOAL := help
.PHONY: help setup up down status logs demo env unset test test-all test-plain check fix bench lock clean
.PHONY: watch docs hooks chaos sbom dist recording
MAKEFLAGS += --no-print-directory
# Without compiled files each of a thousand processes of the tests would compile the code again.
unexport PYTHONDONTWRITEBYTECODE

# In a copied or moved checkout the programs of .venv run the original's code: set it up again.
SET_UP_HERE := grep -qsF "$(CURDIR)/.venv/" .venv/bin/auth-service
$(shell $(SET_UP_HERE) || rm -f $(STAMP))

help: ## print this help
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; \
		do printf '%-15s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## install the locked dependencies, and prepare PostgreSQL and RabbitMQ
	@:

up: $(STAMP) ## start the whole system and print its addresses
	@$(BIN)/python -m local up

down: $(STAMP) ## stop the system; its data stay
	@$(BIN)/python -m local down

status: $(STAMP) ## show the processes and both ends of the pipe
	@$(BIN)/python -m local status $(ARGS)

logs: $(STAMP) ## show the end of all logs; follow them on a terminal
	@$(BIN)/python -m local logs

demo: $(STAMP) ## show users arriving in the blog, what breaks and heals, and the final proof (ARGS=--json for scripts)
	@$(BIN)/python -m local demo $(ARGS)

recording: $(STAMP) ## record the demonstration for the README
	@$(BIN)/python -m local demo --record docs/_static/demo.svg

env: $(STAMP) ## print the running system's settings as shell exports
	@$(BIN)/python -m local env

unset: ## print the shell commands that remove these exports
	@$(PYTHON) -c 'import os; print("\n".join(sorted("unset " + name for name in os.environ \
		if name.startswith(("AUTH_", "BLOG_")) or name == "LOCAL_CHECKOUT")))'

test: $(STAMP) ## run the tests except the slow ones (ARGS="tests/unit -x" for some of them)
	@$(BIN)/python -m local browser
	@$(PYTEST) -m 'not slow' $(ARGS)

test-all: $(STAMP) ## run every test (ARGS="-m slow" for what make test leaves out)
	@$(BIN)/python -m local browser
	@$(PYTEST) $(ARGS)

test-plain: $(STAMP) ## run the tests of relay and consumer on the AMQP library's own path
	@AUTH_AMQP_PLAIN=true BLOG_AMQP_PLAIN=true $(PYTEST) $(or $(ARGS),$(MESSAGING))

chaos: $(STAMP) ## let faults strike a running system (SEED=n to replay; SCHEDULES=n, MINUTES=n)
	@$(BIN)/python -W ignore -m tests.chaos $(if $(SEED),--seed $(SEED)) \
		$(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(MINUTES),--minutes $(MINUTES))

check: $(STAMP) ## check format, lint, types, imports, migrations, contracts, settings, vocabulary, links
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m migrations.lint
	@$(BIN)/python -m contracts.events.write_schemas --check
	@$(BIN)/python -m contracts.events.write_definitions --check
	@$(BIN)/python -m contracts.conformance.write_vectors --check
	@$(BIN)/python -m compatibility check
	@$(BIN)/auth-service settings check .env.example docker-compose.yml $(wildcard deploy/*.yml .env) >/dev/null
	@$(BIN)/blog-service settings check .env.example docker-compose.yml $(wildcard deploy/*.yml .env) >/dev/null

	@$(BIN)/python -m local.vocabulary
	@$(SPHINX) -b dummy . .local/docs/check

watch: $(STAMP) ## rerun the tests that a change touches (ARGS="tests/unit" by default)
	@$(BIN)/ptw . --now --clear --delay 0.5 --patterns '*.py,*.js,*.json' \
		--ignore-patterns '.local/*,.venv/*' --runner $(BIN)/pytest --testmon -q $(or $(ARGS),tests/unit)

docs: $(STAMP) ## build the documentation site; every warning is an error
	@$(SPHINX) -b html . .local/docs/html
	@echo "file://$(CURDIR)/.local/docs/html/docs/index.html"

hooks: $(STAMP) ## install the git hooks of .pre-commit-config.yaml
	@$(BIN)/prek install

fix: $(STAMP) ## format the code and apply the linter's fixes
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

bench: $(STAMP) ## measure the claims, next to comparable pipelines
	@$(BIN)/python -m local browser
	@$(BIN)/python -m benchmarks $(ARGS)

dist: $(STAMP) ## build a release in .local/dist: a wheel and the source archive
	@rm -rf .local/dist
	@$(BIN)/hatchling build -d "$(CURDIR)/.local/dist"

sbom: $(STAMP) ## write a bill of materials of our image, in CycloneDX's format
	@$(BIN)/python -m local.sbom

lock: ## write the lock files from pyproject.toml (needs uv)
	@$(COMPILE) -o requirements.txt
	@$(COMPILE) --extra dev --extra otel -c requirements.txt -o requirements-dev.txt
	@$(COMPILE) --extra otel -c requirements-dev.txt -o requirements-otel.txt

clean: ## stop the system; remove its data, .venv and all caches
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m local down; $(BIN)/python -m tests.support.memory; fi
	@rm -rf .local .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .testmondata* docs/reference docs/interfaces
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Standard output is for `make env`; progress messages go to standard error.
$(STAMP): $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) lacks venv; install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "setting up .venv with the locked dependencies (half a minute)" >&2
	@$(SET_UP_HERE) || $(PYTHON) -m venv --clear .venv >&2
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes \
		-r requirements-dev.txt >&2
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation \
		--no-index -e . >&2
	@$(BIN)/python -m local servers >&2
	@touch $@
