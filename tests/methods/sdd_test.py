"""SDD's regions are its authors', and every network's map and classifier fit them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax import declarations, losses
from da_jax.methods import METHODS, MethodInputs, Outputs, create_method
from da_jax.models import create_model
from da_jax.models.network import Classifier

torch = pytest.importorskip("torch")
nn = torch.nn

BATCH_SIZE, CHANNELS, CLASSES = 3, 6, 5


def random_outputs(seed, size):
    """A network's outputs with a map, and its classifier."""
    rng = np.random.default_rng(seed)
    last_map = rng.normal(size=(BATCH_SIZE, size, size, CHANNELS))
    classifier = Classifier(
        jnp.asarray(rng.normal(size=(CHANNELS, CLASSES))),
        jnp.asarray(rng.normal(size=CLASSES)),
    )
    logits = last_map.mean(axis=(1, 2)) @ classifier.kernel + classifier.bias
    return Outputs(jnp.asarray(logits), {"last_map": jnp.asarray(last_map)}), classifier


def torch_regions(outputs, classifier, sides):
    """The authors' pyramid: each grid is pooled from the grid of 4 × 4 cells."""
    maps = torch.from_numpy(np.array(outputs.features["last_map"])).permute(0, 3, 1, 2)
    finest = nn.AdaptiveAvgPool2d(4)(maps)
    pooled = torch.cat([nn.AdaptiveAvgPool2d(s)(finest).flatten(2) for s in sides], 2)
    kernel, bias = (torch.from_numpy(np.array(leaf)) for leaf in classifier)
    return (torch.einsum("bcn,ck->bkn", pooled, kernel) + bias[:, None]).numpy()


@pytest.mark.parametrize("size", [8, 7, 4, 2])
@pytest.mark.parametrize(("finest", "sides"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4))])
def test_regions_equal_the_authors(x64, size, finest, sides):
    outputs, classifier = random_outputs(0, size)
    method = create_method("SDD", finest=finest, dtype=jnp.float64, precision="highest")
    found = method.regions(outputs, classifier)
    expected = torch_regions(outputs, classifier, sides)
    assert found.shape == (BATCH_SIZE, CLASSES, sum(side**2 for side in sides))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    if size != 7:  # then the cells have unequal sizes
        np.testing.assert_allclose(found[..., 0], outputs.logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("base", "loss", "names"),
    [
        ("KD", losses.sdd_kd, ("kd_weight",)),
        ("DKD", losses.sdd_dkd, ("alpha", "beta", "warmup", "epoch")),
        ("NKD", losses.sdd_nkd, ("gamma", "warmup", "epoch")),
    ],
)
def test_the_base_is_the_loss_of_the_regions(x64, base, loss, names):
    (student, of_student), (teacher, of_teacher) = (
        random_outputs(seed, size) for seed, size in ((1, 4), (2, 8))
    )
    labels = jnp.arange(BATCH_SIZE)
    inputs = MethodInputs(
        student=student,
        teacher=teacher,
        labels=labels,
        indices=labels,
        train_labels=labels,
        epoch=jnp.asarray(3.0),
        teacher_norms=[],
        student_classifier=of_student,
        teacher_classifier=of_teacher,
    )
    _, defaults = declarations.split(METHODS["SDD"], {})
    scalars = {name: value + 0.5 for name, value in defaults.items()}
    method = create_method("SDD", base=base, dtype=jnp.float64, precision="highest")
    options = {**scalars, "epoch": inputs.epoch}
    expected = loss(
        *inputs.logits,
        student_regions=torch_regions(student, of_student, (1, 2)),
        teacher_regions=torch_regions(teacher, of_teacher, (1, 2)),
        **{name: options[name] for name in ("temperature", "ce_weight", *names)},
    )
    found = jax.jit(method.apply)({}, inputs, scalars)
    assert found.keys() == expected.keys()
    for term, value in expected.items():
        assert found[term] == pytest.approx(float(value), rel=1e-12), term


@pytest.mark.parametrize(
    "name", ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"]
)
def test_a_classifier_of_the_averaged_map_gives_a_network_s_logits(name):
    network = create_model(name, 10)
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    (logits, features), variables = jax.jit(network.init_with_output)(
        jax.random.key(0), images
    )
    kernel, bias = network.classifier(variables)
    pooled = features["last_map"].mean(axis=(1, 2))
    np.testing.assert_allclose(pooled @ kernel + bias, logits, rtol=1e-4, atol=1e-5)
