# For people and CI alike; all that it installs goes to .venv, which it makes by itself.
#
#   make run      see tlsproxy work in front of an embedded old mail server; Ctrl-C ends it
#   make test     all tests; ARGS="-k imap -x" is handed to pytest
#   make check    formatting, lint, types, import rules
#   make coverage which lines and branches the tests without real servers reach
#   make fmt      put the formatting right
#   make bench-quick  measure tlsproxy beside nginx, HAProxy and hitch, in two minutes; see bench/README.md
#   make bench    all that bench/README.md shows, in half an hour; BENCH_PYTHONS=/usr/bin/python3 adds a column
#   make clean    remove what was made here
#
# PYTHON=python3.12 picks another Python; 3.11 is the oldest that works.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# More workers than this start more mail servers than they save time.
PYTEST := -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadgroup

.PHONY: run test check lint format types imports coverage fmt clean native bench bench-quick

run: $(VENV)/run.installed
	$(BIN)/tlsproxy demo $(ARGS)

test: $(VENV)/test.installed
	$(BIN)/python $(PYTEST) $(ARGS)

check: lint format types imports

lint: $(VENV)/check.installed
	$(BIN)/ruff check .

format: $(VENV)/check.installed
	$(BIN)/ruff format --check .

types: $(VENV)/check.installed
	$(BIN)/mypy

imports: $(VENV)/check.installed
	$(BIN)/lint-imports

coverage: $(VENV)/test.installed
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST) -m "not real" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

fmt: $(VENV)/check.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The load generators and the backends of the benchmark.
NATIVE := build/bench
native: $(addprefix $(NATIVE)/,loadgen backend smtpload smtpsink)

$(NATIVE)/%: bench/native/%.c bench/native/common.h bench/native/mail.h
	@mkdir -p $(NATIVE)
	$(CC) -O2 -Wall -Wextra -Wshadow -o $@ $< -lssl -lcrypto

# Peers that are missing are left out; `make bench` installs them first where it may. Other interpreters to run
# tlsproxy with need its dependencies: BENCH_PYTHONS="/path/to/venv/bin/python ...".
BENCH_PYTHONS ?=
BENCH := $(BIN)/python -m bench --python $(BIN)/python $(addprefix --python ,$(BENCH_PYTHONS))

bench-quick: $(VENV)/run.installed native
	$(BENCH) --quick $(ARGS)

bench: $(VENV)/bench.installed bench-packages native
	$(BENCH) --write-readme --plot $(ARGS)

.PHONY: bench-packages
bench-packages:
	@bench/install-packages

clean:
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed is installed again only when pyproject.toml has changed.
$(VENV)/run.installed: EXTRAS :=
$(VENV)/test.installed: EXTRAS := [test]
$(VENV)/check.installed: EXTRAS := [test,check]
$(VENV)/bench.installed: EXTRAS := [bench]
$(VENV)/%.installed: pyproject.toml $(BIN)/python
	$(PIP) install --editable '.$(EXTRAS)'
	@touch $@

# Not dependent on anything: a Python that is there is good.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "tlsproxy needs Python 3.11 or newer, and $(PYTHON) is not. Say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory venv-package
	$(PYTHON) -m venv $(VENV)

# Debian keeps what python3 -m venv needs in a package of its own.
.PHONY: venv-package
venv-package:
	@sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	version=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	if command -v apt-get >/dev/null && { [ -z "$$sudo" ] || $$sudo true 2>/dev/null; }; then \
	    $$sudo apt-get -qq update && \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $$version >/dev/null; \
	else \
	    echo "$(PYTHON) -m venv does not work here. Install it first: apt-get install $$version" >&2; exit 1; \
	fi
