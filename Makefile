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

# The README's command, with the slow ones as well. A process a core with a thread each takes half
# the time of one with a thread a core: most tensors of the tests are too small to share.
test:
	OMP_NUM_THREADS=1 python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "slow or not slow"
