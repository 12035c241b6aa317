"""Label smoothing of every method's cross-entropy, against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax import declarations
from da_jax.methods import METHODS, create_method
from da_jax.methods.logit_method import LogitMethod
from tests.methods.methods_test import KEYS, random_batch

torch = pytest.importorskip("torch")

SMOOTHING = 0.15
CONTRASTED = {"CRD": {"num_others": 16}}


def to_float64(tree):
    def widened(leaf):
        is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(jnp.float64) if is_float else leaf

    return jax.tree.map(widened, tree)


def loss_terms(name, smoothing, wanted):
    """Those of a random batch that are `wanted`, or all for None."""
    batch = to_float64(random_batch())._replace(label_smoothing=smoothing)
    method = create_method(name, **CONTRASTED.get(name, {}))
    _, weights = declarations.split(METHODS[name], {})

    @jax.jit
    def terms(batch):
        losses, _ = method.init_with_output(KEYS, batch, weights)
        return {term: losses[term] for term in wanted or losses}

    return terms(batch)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "SimKD"])
def test_the_cross_entropy_is_smoothed_as_pytorch_s(x64, name):
    batch = to_float64(random_batch())
    views = [batch.student] + [batch.strong.student] * METHODS[name].strong_view
    expected = sum(
        torch.nn.functional.cross_entropy(
            torch.tensor(np.asarray(view.logits)),
            torch.tensor(np.asarray(batch.labels)),
            label_smoothing=SMOOTHING,
        )
        for view in views
    )
    _, weights = declarations.split(METHODS[name], {})
    found = loss_terms(name, SMOOTHING, ["loss_ce"])["loss_ce"]
    expected *= weights.get("ce_weight", 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


LOGIT_METHODS = [name for name in METHODS if issubclass(METHODS[name], LogitMethod)]


@pytest.mark.parametrize("name", LOGIT_METHODS)
def test_no_other_term_is_smoothed(x64, name):
    plain, smoothed = (loss_terms(name, each, None) for each in (None, SMOOTHING))
    assert plain.keys() == smoothed.keys() > {"loss_ce"}
    for term in plain.keys() - {"loss_ce"}:
        np.testing.assert_array_equal(smoothed[term], plain[term])
