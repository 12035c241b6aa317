"""Deprecated calls in our modules are errors, in tests and in their commands."""

import subprocess
import sys
import warnings

import pytest

from da_jax.training import compilation, parallel
from tests.command_runs import REPOSITORY

CALL = "import warnings; warnings.warn('going away', DeprecationWarning)"


@pytest.mark.parametrize("module", [compilation, parallel, sys.modules[__name__]])
def test_in_tests(module):
    with pytest.raises(DeprecationWarning, match="going away"):
        exec(CALL, {"__name__": module.__name__})


def test_those_of_others_are_not():
    with warnings.catch_warnings(record=True) as seen:
        exec(CALL, {"__name__": "flax.linen.module"})
    assert not seen


@pytest.mark.parametrize("module", ["da_jax.main", "da_jax.configs.digits", "flax"])
def test_in_commands(module):
    done = subprocess.run(
        [sys.executable, "-c", f"exec({CALL!r}, {{'__name__': {module!r}}})"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert ("DeprecationWarning: going away" in done.stderr) == (module != "flax")
    assert done.returncode == (module != "flax")
