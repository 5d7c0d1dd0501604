"""pytest reads this when it runs the notebooks (`pytest --nbval`).

Outputs are compared as scripts/nbval_numbers.py says.
"""

from nbval_numbers import pytest_collection_modifyitems, pytest_runtest_call  # noqa: F401
