# `make demo` and `make test` do all set-up that is missing. See README.md.
.PHONY: demo test test-fast lint serve setup clean

PYTHON := .venv/bin/python

setup:
	@deployments/bootstrap.sh

demo: setup
	@$(PYTHON) -m demo $(if $(FRESH),--fresh)

test: setup lint
	$(PYTHON) -m pytest

test-fast: setup
	$(PYTHON) -m pytest -m "not slow"

lint: setup
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy

# A Prefect server and a worker on this machine, with both flows deployed.
serve: setup
	@$(PYTHON) -m deployments.serve $(if $(PORT),--port $(PORT))

clean:
	rm -rf .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
