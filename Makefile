# Three commands: `make demo` does the main job, `make check` tests what is quick, `make test` all of it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

# All that an installation may choose: what the tests need.
EXTRAS := cel,cluster,encryption,object-store,otel,redact,results-server,results-server-postgresql,signed

# Processes that run tests: one more than there are cores, since tests of whole processes wait for a third of
# their time. The fast tests take two for each core.
JOBS ?= $(shell expr 1 + $$(getconf _NPROCESSORS_ONLN))
FAST_JOBS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
PYTEST := $(BIN)/pytest --dist worksteal

# Tests start hundreds of processes: each would compile the package anew where this variable is set.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo check fast test all-tests check-versions check-lowest lint site serve-site links bench bench-engine performance pictures clean

demo: $(STAMP)
	@$(BIN)/python examples/01-images/demo.py

# Before each commit: all but the tests that are marked as slow, and few examples of each property.
check: lint fast

fast: $(STAMP)
	$(PYTEST) -n $(FAST_JOBS) -m "not slow" --hypothesis-profile=check

# All that needs no cluster. The linters, then the site, use one processor for a minute: the tests begin beside them.
test: $(STAMP)
	@$(MAKE) --no-print-directory --jobs=2 lint all-tests site

all-tests: $(STAMP)
	$(PYTEST) -n $(JOBS)

# The fast tests on every other Python from 3.11 on that is installed here.
check-versions: $(STAMP)
	@.ci/check-versions $(VENV)

# The fast tests with the lowest version of each dependency that pyproject.toml allows.
check-lowest:
	@.ci/check-lowest $(VENV)-lowest '$(EXTRAS)'

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation in build/site, with warnings as errors and without the network.
site: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# The same on http://127.0.0.1:8000, built again when a page changes.
serve-site: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# Addresses of others that pages link to and that do not answer: needs the network, and is part of no test.
links:
	@$(PYTHON) docs/assets/external_links.py --fetch

# On an idle machine: what is promised about time, then the sidecar's figures.
bench: $(STAMP)
	$(BIN)/python bench/promises.py
	$(BIN)/python bench/sidecar.py

# The TEP's measurement without a cluster; on one: bench/pipelines.py -h; all backends on one: bench/backends.py -h.
bench-engine: $(STAMP)
	$(BIN)/python bench/engine.py --json docs/explanation/performance/engine.json --resume

# The page of all measurements in docs/explanation/performance.
performance: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group plots
	$(BIN)/python bench/performance.py

# The pictures in docs/pictures, of what the commands print and draw today.
pictures: $(STAMP)
	$(BIN)/python docs/pictures/make.py

# Installed once, and again when what is installed changes.
$(STAMP): pyproject.toml .ci/environment
	@.ci/environment '$(PYTHON)' $(VENV) '$(EXTRAS)'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-3.* $(VENV)-lowest build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
