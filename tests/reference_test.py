"""Five float64 steps of everything equal those of the trainer before its rebuild."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.models.network import PRECISIONS
from tests.reference import CASES, FILE, FLOAT64, eigh_of_fixed_signs, five_steps

REFERENCE = json.loads(FILE.read_text())
TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def forget_each_program():
    """The cases of one worker would map more memory than Linux allows."""
    yield
    jax.clear_caches()


def test_every_case_is_held():
    assert list(REFERENCE) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_five_steps_are_what_they_were(x64, monkeypatch, name):
    monkeypatch.setitem(PRECISIONS, "float64", FLOAT64)
    monkeypatch.setattr(jnp.linalg, "eigh", eigh_of_fixed_signs)
    found = json.loads(json.dumps(five_steps(CASES[name])))
    expected = REFERENCE[name]
    for student, held in zip(found, expected, strict=True):
        for sums, then in zip(student["sums"], held["sums"], strict=True):
            for later in sums.keys() - then.keys():  # metrics that came after
                del sums[later]
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=TOLERANCE, atol=TOLERANCE)
