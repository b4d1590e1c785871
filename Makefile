# Every target sets itself up: a machine needs Python 3.11+, Go and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SBOM   := dist/serviceentry-guard.cdx.json
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

# Most tests wait for other processes more than they work; those of test-fast do not. A file's tests stay together: tests/conftest.py says why.
WORKERS  ?= 4
PARALLEL := --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder

# The tests start the command hundreds of times: its modules are to be compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.PHONY: demo
demo: $(STAMP)  ## show the main job on an API server of its own; says first how long it takes
	@$(BIN)/python -m tests.demo

.PHONY: test
test: lint test-all  ## everything CI runs

.PHONY: test-all
test-all: $(STAMP)
	@$(BIN)/python -m tests.bed build mesh
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90
	$(BIN)/coverage report --include='app/core/*' --fail-under=100

.PHONY: test-fast
test-fast: $(STAMP)  ## tests that need no cluster, under a minute
	$(BIN)/python -m pytest $(PARALLEL) --numprocesses=auto tests/unit tests/contract

EXAMPLES ?= 2000
.PHONY: deep
deep: $(STAMP)  ## try all properties with many more examples, on thousands of generated clusters, and with thousands of objects
	@$(BIN)/python -m tests.bed build mesh
	DEEP=1 HARM_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest $(PARALLEL) -m "hypothesis or generated or sized"

SECONDS ?= 3600
.PHONY: fuzz
fuzz: $(STAMP)  ## read damaged input of every kind for an hour (SECONDS=...), and write docs/reliability.md
	$(BIN)/python -m tests.fuzz $(SECONDS) --write

.PHONY: reference
reference: $(STAMP)  ## write the generated parts of the documentation and of the chart
	@$(BIN)/python -m tools.reference

.PHONY: docs
docs: $(STAMP)  ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.PHONY: image-test
image-test: $(STAMP)  ## build the image with buildah, and try it; needs root and Debian's debootstrap
	$(BIN)/python -m pytest -s tests/image

.PHONY: cluster-test
cluster-test: $(STAMP)  ## install the chart on two nodes of its own, and disrupt them; needs root and Linux
	$(BIN)/python -m pytest -s tests/cluster

.PHONY: versions
versions: $(STAMP)  ## run the end-to-end tests on the oldest and the newest Kubernetes too; writes docs/versions.md
	@$(BIN)/python -m tests.versions --write --workers=$(WORKERS)

.PHONY: chaos
chaos: $(STAMP)  ## cause all faults under a stream of writes, and write docs/reliability.md; 25 minutes
	@$(BIN)/python -m tests.chaos --write

MINUTES ?= 30
.PHONY: soak
soak: $(STAMP)  ## run for MINUTES=30 with all intervals shortened, and look for leaks
	@$(BIN)/python -m tests.chaos.soak --write --minutes=$(MINUTES)

.PHONY: sbom
sbom: $(STAMP)  ## list what the image is made of in dist/ (CycloneDX)
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/sbom
	@$(BIN)/uv pip install --quiet --python build/sbom --no-deps --require-hashes -r requirements/runtime.txt
	@mkdir -p dist
	@$(BIN)/cyclonedx-py environment build/sbom --pyproject pyproject.toml --mc-type application \
		--output-reproducible --spec-version 1.6 --output-format JSON --output-file $(SBOM)
	@echo $(SBOM)

.PHONY: package
package: $(STAMP)  ## build the wheel and the source distribution into dist/
	@$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist
	@ls dist/*.whl dist/*.tar.gz

.PHONY: publish
publish: $(STAMP)
	@$(BIN)/uv publish --trusted-publishing always dist/*.whl dist/*.tar.gz

.PHONY: lint
lint: $(STAMP)  ## format, lint, types, import contracts, spelling and style
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell app certs charts docs examples tests tools *.md
	$(BIN)/python -m tools.style

.PHONY: format
format: $(STAMP)  ## put the code into its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: bench
bench: $(STAMP)  ## measure, and print the figures of docs/performance.md
	@$(BIN)/python -m tests.bed build bench
	@$(BIN)/python -m tests.perf

.PHONY: lock
lock: $(STAMP)  ## compile requirements/*.txt anew from pyproject.toml
	$(COMPILE) pyproject.toml --extra tracing -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra tracing --extra dev -o requirements/dev.txt
	$(COMPILE) --group build --constraint requirements/dev.txt -o requirements/build.txt

.PHONY: clean
clean:  ## remove what the other targets made here (the test bed's cache stays)
	rm -rf $(VENV) build dist site *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11: name a newer one with make PYTHON=python3.x"; exit 2; }
	@echo "installing the Python packages that this needs into $(VENV), once; this takes about a minute"
	$(PYTHON) -m venv $(VENV)
	@# The lock is whole: without --no-deps, pip before 24 looks for a newer coverage[toml] than the one that is pinned.
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
