.PHONY: check lint types imports test

# What CI runs, in an environment with '.[test]' installed.
check: lint types imports test

lint:
	python -m ruff check
	python -m ruff format --check

types:
	python -m mypy

imports:
	lint-imports

# The README's command, with the slow ones as well.
test:
	python -m pytest -m "slow or not slow"
