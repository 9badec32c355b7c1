# Every target runs in .venv and builds it first if it is missing or older than the pinned versions.
PYTHON ?= python3
python := .venv/bin/python

.PHONY: venv search test test-unit test-slow lint bench docs

venv: .venv/.installed

# The hooks are copied into the environment, so changing them needs a new installation.
.venv/.installed: pyproject.toml constraints.txt _platform_path.py platform_path.pth platform_path.start
	$(PYTHON) -m venv .venv
	$(python) -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

search: venv
	$(python) -m platform.search --space transreid

# Each process runs whole files, whose tests share what is slow to make.
test: venv
	$(python) -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile -m "not slow and not cluster and not gpu"

# The tests that start no process and do not import Ray.
test-unit: venv
	$(python) -m pytest --unit

# All tests. Those that this machine cannot run are skipped, with the reason. Only the second lane sees a GPU.
test-slow: venv
	$(python) -m pytest -m "not gpu"
	$(python) -m pytest -m gpu

lint: venv
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

bench: venv
	@for benchmark in benchmarks/*.py; do $(python) $$benchmark || exit 1; done

# Build docs/_build/index.html; a warning fails.
docs: venv
	$(python) -m sphinx -W --keep-going -q docs docs/_build
