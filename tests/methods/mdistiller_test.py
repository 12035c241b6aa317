"""The losses and gradients of the distillation methods equal mdistiller's."""

import functools
import re

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from da_jax.convert import rules

from da_jax import declarations
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.methods import (
    METHODS,
    MethodInputs,
    Outputs,
    ViewOutputs,
    crd,
    create_method,
)
from da_jax.models import create_model
from tests import golden
from tests.golden import weights
from tests.parity import by_torch_key, variables

EPOCH = 5
START, BATCH_SIZE = 40, 8
NUM_EXAMPLES = 256

AUXILIARY_NAMES = (
    (r"^conv_reg\.", ""),
    (r"^connectors\.connectors\.(\d)\.0\.", r"connector\1_conv."),
    (r"^connectors\.connectors\.(\d)\.1\.", r"connector\1_bn."),
    (r"^regressors\.(\d)\.(\d)\.", lambda m: f"regressor{m[1]}_{int(m[2]) // 2}."),
    (r"^abfs\.(\d)\.conv(\d)\.0\.", r"fusion\1.conv\2."),
    (r"^abfs\.(\d)\.conv(\d)\.1\.", r"fusion\1.bn\2."),
    (r"^abfs\.(\d)\.att_conv\.0\.", r"fusion\1.attention."),
    (r"^embed_s\.linear\.", "embed_student."),
    (r"^embed_t\.linear\.", "embed_teacher."),
    (r"^contrast\.memory_v1$", "memory.student"),
    (r"^contrast\.memory_v2$", "memory.teacher"),
)
"""mdistiller's names of the methods' variables, and ours."""


class GivenOthers(crd.CRD):
    """CRD with the contrasted images that the original was given."""

    def contrasted(self, inputs):
        return jnp.asarray(golden.methods()["CRD"]["contrastive_index"])


def teacher_outputs(name, images):
    """The teacher's outputs and batch norms.

    The original's FitNet and VID pass noise through the teacher in train mode to learn
    the shapes of its features, which moves its running statistics; the golden vectors
    have it so, and so these statistics are kept beside them. Ours pass nothing.
    """
    teacher = create_model("resnet32x4", dtype=jnp.float64, precision="highest")
    weights = variables("resnet32x4", 2, jnp.float64)
    norms = teacher.norms_before_relu(weights["params"])
    if METHODS[name].teacher_train:
        outputs, _ = jax.jit(
            functools.partial(teacher.apply, train=True, mutable=["batch_stats"])
        )(weights, images)
        return Outputs(*outputs), norms
    if name in ("FitNet", "VID"):
        disturbed = golden.disturbed_running_statistics()
        statistics = flax.traverse_util.flatten_dict(weights["batch_stats"])
        moved = {
            path: jnp.asarray(
                disturbed[rules.torch_key("resnet32x4", path)], jnp.float64
            )
            for path in statistics
        }
        weights["batch_stats"] = flax.traverse_util.unflatten_dict(moved)
    return Outputs(*jax.jit(teacher.apply)(weights, images)), norms


@functools.cache
def student_forward():
    """The student's outputs, how to pull gradients back, images and labels."""
    _, arrays = golden.load("training")
    batch = slice(START, START + BATCH_SIZE)
    images = PREPROCESSING.normalize(jnp.asarray(arrays["images"][batch]), jnp.float64)
    student = create_model("resnet8x4", dtype=jnp.float64, precision="highest")
    student_variables = variables("resnet8x4", 1, jnp.float64)

    def outputs(params):
        learned, _ = student.apply(
            {**student_variables, "params": params},
            images,
            train=True,
            mutable=["batch_stats"],
        )
        return Outputs(*learned)

    @jax.jit
    def pull_back(cotangents):
        _, vjp = jax.vjp(outputs, student_variables["params"])
        return vjp(cotangents)[0]

    learned = jax.jit(outputs)(student_variables["params"])
    return learned, pull_back, images, jnp.asarray(arrays["labels"][batch])


def golden_batch(name):
    student, _, images, labels = student_forward()
    teacher, norms = teacher_outputs(name, images)
    return MethodInputs(
        student=student,
        teacher=teacher,
        labels=labels,
        indices=jnp.arange(BATCH_SIZE),
        train_labels=jnp.zeros(NUM_EXAMPLES, jnp.int32),
        epoch=jnp.asarray(float(EPOCH)),
        teacher_norms=norms,
    )


def our_path(key):
    """The path in our variables for mdistiller's key."""
    for pattern, replacement in AUXILIARY_NAMES:
        key = re.sub(pattern, replacement, key)
    *modules, leaf = key.split(".")
    is_norm = bool(modules) and re.search(r"bn\d?$", modules[-1])
    if leaf == "weight":
        leaf = "scale" if is_norm else "kernel"
    leaf = {"running_mean": "mean", "running_var": "var"}.get(leaf, leaf)
    collection = "batch_stats" if leaf in ("mean", "var") else "params"
    if modules == ["memory"]:
        return "memory", leaf
    return collection, *modules, leaf


def golden_auxiliary(method, name, batch):
    """The method's variables with mdistiller's weights."""
    expected = golden.methods()[name]
    shapes = {
        key: shape
        for key, shape in expected["aux_shapes"].items()
        if key not in expected["aux_untouched"] and "num_batches" not in key
    }
    initial = jax.eval_shape(
        lambda: method.init(
            {"params": jax.random.key(0), "method": jax.random.key(1)},
            batch,
            declarations.split(METHODS[name], {})[1],
        )
    )
    found = flax.traverse_util.flatten_dict(
        jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), initial)
    )
    for key, array in weights.state_dict(shapes, expected["seed"]).items():
        path = our_path(key)
        value = rules.flax_layout(path[-1], array)
        assert found[path].shape == value.shape, (key, path)
        found[path] = jnp.asarray(value, jnp.float64)
    return flax.traverse_util.unflatten_dict(found)


def norms(tree):
    return {
        path: float(jnp.linalg.norm(leaf.ravel()))
        for path, leaf in flax.traverse_util.flatten_dict(tree).items()
    }


@pytest.mark.parametrize("name", golden.methods())
def test_losses_and_gradients_equal_the_original_s(x64, name):
    expected = golden.methods()[name]
    _, method_weights = declarations.split(METHODS[name], {})
    options = {"dtype": jnp.float64, "precision": "highest"}
    if name == "CRD":
        method = GivenOthers(num_others=64, **options)
    else:
        method = create_method(name, **options)
    batch = golden_batch(name)
    auxiliary = golden_auxiliary(method, name, batch)
    params = auxiliary.pop("params", {})

    @jax.jit
    def run(student, params):
        def total(student, params):
            losses, _ = method.apply(
                {"params": params, **auxiliary},
                batch._replace(student=student),
                method_weights,
                mutable=list(auxiliary),
                rngs={"method": jax.random.key(0)},
            )
            return sum(losses.values()), losses

        return jax.grad(total, (0, 1), has_aux=True)(student, params)

    (cotangents, of_method), losses = run(batch.student, params)
    tolerance = 1e-7
    for term, value in expected["losses"].items():
        assert float(losses[term]) == pytest.approx(value, rel=tolerance), term
    of_student = by_torch_key("resnet8x4", {"params": student_forward()[1](cotangents)})
    found = {f"student.{key}": np.linalg.norm(leaf) for key, leaf in of_student.items()}
    ours = norms(of_method)
    for key in expected["grad_norm"]:
        if not key.startswith("student."):
            found[key] = ours.pop(our_path(key)[1:])
    assert not ours
    for key, norm in expected["grad_norm"].items():
        assert found[key] == pytest.approx(norm, rel=tolerance, abs=1e-12), key


@pytest.mark.parametrize("kind", ["mlkd", "mlkd_logit_stand"])
def test_losses_of_two_views_equal_the_original_s(x64, kind):
    description, arrays = golden.load("training")
    expected = description["later_variants"][kind]
    student, teacher = (
        create_model(name, dtype=jnp.float64, precision="highest")
        for name in ("resnet8x4", "resnet32x4")
    )
    batch = golden_batch("KD")
    views = []
    for start in (expected["start"], expected["strong_start"]):
        images = jnp.asarray(arrays["images"][start : start + BATCH_SIZE])
        images = PREPROCESSING.normalize(images, jnp.float64)
        learned, _ = jax.jit(
            functools.partial(student.apply, train=True, mutable=["batch_stats"])
        )(variables("resnet8x4", 1, jnp.float64), images)
        weights = variables("resnet32x4", 2, jnp.float64)
        of_teacher = jax.jit(teacher.apply)(weights, images)
        views.append(ViewOutputs(Outputs(*learned), Outputs(*of_teacher)))
    labels = arrays["labels"][expected["start"] : expected["start"] + BATCH_SIZE]
    batch = batch._replace(
        student=views[0].student,
        teacher=views[0].teacher,
        labels=jnp.asarray(labels),
        strong=views[1],
    )
    method = create_method("MLKD", logit_standardization=expected["ls"])
    method_weights = {"temperature": 2.0, "ce_weight": 0.1, "kd_weight": 9.0}
    losses = jax.jit(method.apply)({}, batch, method_weights)
    assert losses.keys() == expected["losses"].keys()
    for term, value in expected["losses"].items():
        assert float(losses[term]) == pytest.approx(value, rel=1e-7), term
