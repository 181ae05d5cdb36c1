# Everything needs only Python 3.11+, venv and make. `make help` lists the targets.
# PYTHON=... chooses the interpreter; the default is the newest one that really runs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

ifndef PYTHON
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
    if "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1; then echo "$$p"; break; fi; done)
endif

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# The project itself: its build backend is in the lock, so nothing is fetched here.
INSTALL_SELF := $(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
# Needed to install, and not to run: they do not stay in an installation, where scanners report them.
BUILDERS := hatchling pathspec pluggy tomlkit trove-classifiers
INSTALLERS := $(BUILDERS) setuptools pip
# Tests start hundreds of processes. Without stored bytecode each one would compile every module again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST_ARGS ?=
# Tests wait about as long as they compute, so that two for each core keep it busy.
WORKERS := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
PARALLEL := -n $(WORKERS) --maxprocesses 8 --dist worksteal
BENCH_ARGS ?=
CHAOS_ARGS ?=

.PHONY: help install install-dev run test check prose acceptance properties schemathesis chaos bench long-life lock \
    audit sbom wheel deb docs notice rules image figures man clean

help:
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	    echo "no Python 3.11 or later with venv found; name one: make PYTHON=/path/to/python3" >&2; \
	    exit 1; fi
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip >/dev/null
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(INSTALL_SELF)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip >/dev/null
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed ## .venv with the locked dependencies and the command campaignd
	@if [ ! -e $(VENV)/.installed-dev ] && $(BIN)/python -c 'import pip' 2>/dev/null; then \
	    $(PIP) uninstall --quiet --yes $(INSTALLERS); fi
	@$(BIN)/python -m config.interpreter
	@[ -z "$(filter install,$(MAKECMDGOALS))" ] || \
	    echo "next: $(BIN)/campaignd init, or $(BIN)/campaignd run for a database of its own"

install-dev: $(VENV)/.installed-dev ## the same, with what tests and checks need

run: install ## install, then the demo (KEEP=1 leaves it running)
	$(BIN)/campaignd demo $(if $(KEEP),--open)

# What make acceptance runs, and make test does not: together they run each test once.
LONG := (machine or measured or slow)
# $(call phase,MARKERS,OPTIONS): the tests with these markers; the next phase follows a failure, too.
# Exit status 5 of pytest means that PYTEST_ARGS selects none of them.
phase = $(BIN)/python -m pytest tests -m "$(1)" $(2) $(PYTEST_ARGS) || [ $$? -eq 5 ] || failed=1

# Several tests at a time, then those that measure time or load, one after the other.
test: install-dev ## the test suite, on the embedded PostgreSQL
	@failed=0; $(call phase,not $(LONG) and not alone,$(PARALLEL)); \
	$(call phase,not $(LONG) and alone,); exit $$failed

check: install-dev prose ## lint, format, types, import contract, prose
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/kubernetes-validate --strict --quiet deploy/kubernetes/base/[!k]*.yaml

# "nobody" in quotes is the user of that name. CONTRIBUTING.md has the rules.
PROSE := campaignd daemon storage config deploy systemd docs tests benchmarks README.md CHANGELOG.md SECURITY.md Dockerfile compose.yaml
NOT_USED := \b(can not|for ever|told|whoever|somebody|nobody)\b
prose: install-dev ## the words that are not used here, and spelling
	@if grep -rnEiI --exclude-dir=__pycache__ '$(NOT_USED)' $(PROSE) | grep -vE "[\"']nobody[\"']|-u nobody"; then \
	    echo "prose: use the words of docs/glossary.md instead of those above" >&2; exit 1; fi
	$(BIN)/codespell $(PROSE) CONTRIBUTING.md Makefile

acceptance: install-dev ## the long tests, and those that need the machine; reports what it skipped and why
	@failed=0; $(call phase,slow and not (machine or measured or alone),$(PARALLEL) -rs); \
	$(call phase,machine or measured or slow and alone,-rs); exit $$failed

properties: install-dev ## the property tests over TIMES=20 times new random cases
	for turn in $$(seq $${TIMES:-20}); do \
	    PROPERTIES_SEARCH=1 $(BIN)/python -m pytest -q tests/unit -m hypothesis $(PYTEST_ARGS) || exit 1; \
	done

schemathesis: install-dev ## the HTTP interface against its specification, at length (EXAMPLES=200)
	SCHEMATHESIS_EXAMPLES=$${EXAMPLES:-200} $(BIN)/python -m pytest -s \
	    tests/integration/api/test_specification.py $(PYTEST_ARGS)

chaos: install-dev ## the long form of tests/chaos: 200 faults on three daemons, and a report
	$(BIN)/python -m tests.support.chaos.main $(CHAOS_ARGS)

long-life: install-dev ## ten million runs stored, and a week of a run each second in one process
	LONG_LIFE=1 $(BIN)/python -m pytest -s tests/integration/storage/test_ten_million_runs.py \
	    tests/acceptance/test_long_life.py $(PYTEST_ARGS)

bench: install-dev ## campaignd beside its peers, into docs/performance.md (BENCH_ARGS="--help")
	$(BIN)/python benchmarks/main.py $(BENCH_ARGS)

# The index comes from the machine's own configuration (UV_DEFAULT_INDEX, UV_INDEX).
LOCK := compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
    --all-extras --no-emit-index-url --no-emit-find-links --no-annotate --quiet \
    --custom-compile-command "make lock"
lock: | $(BIN)/python ## the lock files again from pyproject.toml (UPGRADE=--upgrade for newer versions)
	@$(BIN)/python -c "import uv" 2>/dev/null || $(PIP) install --quiet uv
	$(BIN)/uv pip $(LOCK) $(UPGRADE) --group build -o requirements.lock
	$(BIN)/uv pip $(LOCK) $(UPGRADE) --group build --group dev -c requirements.lock \
	    -o requirements-dev.lock

audit: install-dev ## known vulnerabilities of the locked packages, if their database can be reached
	@$(BIN)/python -m tests.support.audit

# Of a new installation, because .venv has the tools of tests and checks as well.
SBOM_PIP := $(PIP) --python build/sbom/bin/python
sbom: install-dev ## the packages of an installation as CycloneDX, in dist/campaignd.cdx.json
	@mkdir -p build dist
	@$(BIN)/python -m venv --clear --without-pip build/sbom
	@$(SBOM_PIP) install --quiet --require-hashes -r requirements.lock
	@$(SBOM_PIP) install --quiet --no-deps --no-build-isolation --no-index .
	@$(SBOM_PIP) uninstall --quiet --yes $(BUILDERS)
	@version=$$(build/sbom/bin/python -c 'from campaignd import __version__; print(__version__)'); \
	    sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > build/sbom.toml
	$(BIN)/cyclonedx-py environment --pyproject build/sbom.toml --output-reproducible \
	    -o dist/campaignd.cdx.json build/sbom

wheel: install-dev ## the wheel, in dist
	@rm -rf dist/*.whl
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist .

# For the Python of Debian, whatever Python this checkout uses; it becomes /opt/campaignd/.venv.
DEB := build/deb
DEB_VENV := $(DEB)/root/opt/campaignd/.venv
DEB_PYTHON ?= /usr/bin/python3
DEB_PIP := $(BIN)/uv --no-config pip
deb: wheel ## the Debian package, in dist, for the Python of this machine (DEB_PYTHON=/usr/bin/python3)
	@rm -rf $(DEB)
	@$(DEB_PYTHON) -m venv --without-pip $(DEB_VENV)
	@$(DEB_PIP) install --quiet --python $(DEB_VENV) --require-hashes -r requirements.lock
	@$(DEB_PIP) install --quiet --python $(DEB_VENV) --no-deps --no-index dist/*.whl
	@$(DEB_PIP) uninstall --quiet --python $(DEB_VENV) $(BUILDERS)
	@$(BIN)/python deploy/debian/lay_out.py $(DEB)/root $(DEB_PYTHON)
	@$(DEB_VENV)/bin/python -m compileall -q -j 0 -s $(DEB)/root --invalidation-mode unchecked-hash $(DEB_VENV)/lib
	@set -a; . $(DEB)/variables; $(BIN)/nfpm package --config deploy/debian/nfpm.yaml --packager deb --target dist >/dev/null
	@ls dist/*.deb

notice: install-dev ## NOTICE again from the packages' metadata
	@$(BIN)/python -m tests.support.notice > NOTICE

image: install-dev ## the container image, by buildah on Debian; says how big it is
	@$(BIN)/python -m tests.support.machines.image

figures: install-dev ## exposure of the units, size of the image, time of a cold start
	@$(BIN)/python -m tests.support.machines.figures

docs: install-dev ## the documentation as a site, in build/site
	@rm -rf build/pages build/site && mkdir -p build/pages
	@cp -R --parents *.md docs systemd config/*.toml deploy/kubernetes build/pages
	@$(BIN)/zensical build --strict
	@echo "open build/site/index.html"

# The rules are written once, in docs/alerts.yml.
RULES := deploy/kubernetes/components/monitoring/prometheusrule.yaml
rules: ## the PrometheusRule for Kubernetes again from docs/alerts.yml
	@{ printf '%s\n' '# Made from docs/alerts.yml by: make rules' 'apiVersion: monitoring.coreos.com/v1' \
	    'kind: PrometheusRule' 'metadata:' '  name: campaignd' 'spec:'; \
	    sed -n '/^groups:/,$$s/^\(.\)/  \1/p; /^$$/p' docs/alerts.yml; } > $(RULES)

man: install-dev ## the manual page and the completion scripts again from the commands
	@$(BIN)/python -m daemon.cli.man > docs/campaignd.1
	@mkdir -p docs/completions
	@for shell in bash zsh fish; do \
	    $(BIN)/campaignd completion $$shell > docs/completions/campaignd.$$shell; done

clean: ## removes what these targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
	    .hypothesis
	find campaignd daemon storage config tests -name __pycache__ -type d -prune -exec rm -rf {} +
