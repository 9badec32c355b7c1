# Everything runs in .venv, which each target builds when it is missing or older than the pins.
PYTHON ?= python3
python := .venv/bin/python

.PHONY: venv search test test-slow lint bench docs

venv: .venv/.installed

# The hook is copied into the environment, so that its changes need an installation too.
.venv/.installed: pyproject.toml constraints.txt _platform_path.py platform_path.pth platform_path.start
	$(PYTHON) -m venv .venv
	$(python) -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

search: venv
	$(python) -m platform.search --space transreid

test: venv
	$(python) -m pytest -m "not slow and not cluster and not gpu"

# Every lane; a test that this machine cannot run says why and is skipped.
test-slow: venv
	$(python) -m pytest

lint: venv
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

bench: venv
	@for benchmark in benchmarks/*.py; do $(python) $$benchmark || exit 1; done

# Pages to read, docs/_build/index.html; a warning ends it.
docs: venv
	$(python) -m sphinx -W --keep-going -q docs docs/_build
