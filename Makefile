# Every way to run this project. `make` alone lists them.

PYTHON ?= python3
VENV := .venv/bin
PYTEST := $(VENV)/python -m pytest -n 2 --dist loadfile
# One at a time: each of them starts whole stacks, and some hold these to a time.
LONG := $(VENV)/python -m pytest -n 0 -m long
# `check --deploy` looks at the settings as they are in production.
PRODUCTION := MIRRORING_STATE=.build/check PUBLIC_URL=https://mirrors.example.org ALLOWED_HOSTS=mirrors.example.org
LOCK := .build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-strip-extras --no-header --upgrade

# What fails beside the others is named, and run once more alone: some tests hold real processes to a time.
AGAIN := -n 0 --dist no --last-failed --last-failed-no-failures none
# Tests that use no database, or one of their own choice, run once; all others run on both.
NO_DATABASE := $(addprefix --ignore=tests/,acceptance attack house lab probe rules stack verify)
# The long forms of these are about git and about environments, in which the database plays no part.
LONG_ONCE := $(NO_DATABASE) $(addprefix --ignore=tests/,chatops upstream)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup runtime demo up check test test-long seed-walk chaos attack mutants bench bench-smoke fix lock

help: ## list what can be typed
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with everything, also what tests and checks need
	@$(PYTHON) scripts/setup.py --tests

runtime:
	@$(PYTHON) scripts/setup.py

demo: runtime ## mirror 60 repositories under a cap of 8, watch it, verify it (SEED, DEMO_MIRRORS, DEMO_CAP, KEEP, MIRRORS)
	@$(VENV)/python -m tests.acceptance.demo

up: runtime ## run the whole stack in the foreground; MIRRORS=file imports a list first, Ctrl-C stops everything
	@exec $(VENV)/python manage.py up $(if $(MIRRORS),--mirrors "$(MIRRORS)")

check: setup ## format, lint, types, layers, sizes, planted faults still apply, migrations, deployment settings
	$(VENV)/ruff format --check --quiet .
	$(VENV)/ruff check --quiet .
	$(VENV)/python -m mypy
	$(VENV)/lint-imports
	$(VENV)/python scripts/check_sizes.py
	$(VENV)/python -m tests.mutants.run --apply
	$(PRODUCTION) $(VENV)/python -W error manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(VENV)/python -W error manage.py check --deploy --fail-level WARNING

test: setup ## the test suite on SQLite and on PostgreSQL, with coverage
	@rm -rf .build/coverage && mkdir -p .build/coverage
	$(PYTEST) --database sqlite --cov --cov-report= --cov-fail-under=0 || $(PYTEST) $(AGAIN) --database sqlite
	$(PYTEST) --database postgresql $(NO_DATABASE) --cov --cov-append --cov-report=term \
		|| $(PYTEST) $(AGAIN) --database postgresql

test-long: setup ## the long forms of the tests, on both databases
	$(LONG) --database sqlite || $(LONG) $(AGAIN) --database sqlite
	$(LONG) --database postgresql $(LONG_ONCE) || $(LONG) $(AGAIN) --database postgresql

seed-walk: setup ## walk the rollout issue of both flags through four real environments and verify it; twelve minutes (SEED, SEED_MIRRORS, SEED_SECONDS, DATABASE_URL)
	@$(VENV)/python -m tests.acceptance.seed

chaos: setup ## kill, stop, cut off and starve every part at random, and verify that nothing is lost (SEED, DATABASE, CHAOS_MIRRORS, CHAOS_SECONDS, CHAOS_CHECKS)
	@$(VENV)/python -m tests.acceptance.chaos

attack: setup ## do to the stack what hostile upstreams can, on a network of its own, and verify that nothing comes of it (SEED, ATTACK_ONLY, ...)
	@$(VENV)/python -m tests.acceptance.attack

mutants: setup ## plant every fault of tests/mutants and see its test fail (PROVEN=1: the suite has passed on this code)
	@$(VENV)/python -m tests.mutants.run $(if $(PROVEN),--proven)

bench: setup ## measure every row of the performance table beside its peers (FULL=1 for the sizes of the table, SEED, ROWS)
	@$(VENV)/python -m bench --size $(if $(FULL),full,quick) $(if $(SEED),--seed $(SEED)) $(ROWS)

bench-smoke: setup ## run every row at its smallest: whether the benches measure what they say, not how fast
	@$(VENV)/python -m bench --size smoke $(if $(SEED),--seed $(SEED))

fix: setup ## format, and mend what the linter can mend
	$(VENV)/ruff check --fix --quiet . || true
	$(VENV)/ruff format --quiet .

lock: .build/lock/bin/uv ## compile the requirements*.in to locks with hashes, for every platform
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-test.in -c requirements.txt -o requirements-test.txt
	$(LOCK) requirements-bootstrap.in -o requirements-bootstrap.txt

.build/lock/bin/uv:
	$(PYTHON) -m venv .build/lock
	.build/lock/bin/python -m pip install --quiet uv==0.9.30
