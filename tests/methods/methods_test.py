"""The distillation methods against mdistiller's, and what each of them must do."""

import functools
import re
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from configs import digits as digits_config
from convert import rules
from da_jax.config.configuration import create_hyperparameters, create_problem
from da_jax.data import digits
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.errors import UserError
from da_jax.methods import METHODS, Batch, Outputs, View, crd, create_method
from da_jax.models import create_model
from da_jax.models.network import Norm
from da_jax.storage.model_folders import load_model
from da_jax.storage.run_checkpoints import (
    RunCheckpoint,
    RunCheckpoints,
    from_tree,
    to_tree,
)
from da_jax.training.parallel import Programs
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
"""mdistiller's names of what methods learn, and ours."""


class GivenOthers(crd.CRD):
    """CRD with the contrasted images that the original was given."""

    def contrasted(self, batch):
        return jnp.asarray(golden.methods()["CRD"]["contrastive_index"])


def settings(name):
    """A method's attributes and its weights, as its config section has them."""
    section = default.methods().get(name, {})
    numbers = {key: value for key, value in section.items() if type(value) is float}
    return {key: section[key] for key in section.keys() - numbers.keys()}, numbers


def teacher_outputs(name, images):
    """What a method sees of the teacher.

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
def passes():
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
    student, _, images, labels = passes()
    taught, norms = teacher_outputs(name, images)
    return Batch(
        student=student,
        teacher=taught,
        labels=labels,
        indices=jnp.arange(BATCH_SIZE),
        train_labels=jnp.zeros(NUM_EXAMPLES, jnp.int32),
        epoch=jnp.asarray(float(EPOCH)),
        teacher_norms=norms,
    )


def our_path(key):
    """A path in our variables for mdistiller's key of what a method learns."""
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
            settings(name)[1],
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
    fixed, numbers = settings(name)
    options = {"dtype": jnp.float64, "precision": "highest"}
    if name == "CRD":
        method = GivenOthers(**(fixed | {"num_others": 64}), **options)
    else:
        method = create_method(name, **fixed, **options)
    batch = golden_batch(name)
    auxiliary = golden_auxiliary(method, name, batch)
    params = auxiliary.pop("params", {})

    @jax.jit
    def run(student, params):
        def total(student, params):
            losses, _ = method.apply(
                {"params": params, **auxiliary},
                batch._replace(student=student),
                numbers,
                mutable=list(auxiliary),
                rngs={"method": jax.random.key(0)},
            )
            return sum(losses.values()), losses

        return jax.grad(total, (0, 1), has_aux=True)(student, params)

    (cotangents, of_method), losses = run(batch.student, params)
    tolerance = 1e-7
    for term, value in expected["losses"].items():
        assert float(losses[term]) == pytest.approx(value, rel=tolerance), term
    of_student = by_torch_key("resnet8x4", {"params": passes()[1](cotangents)})
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
        taught = jax.jit(teacher.apply)(variables("resnet32x4", 2, jnp.float64), images)
        views.append(View(Outputs(*learned), Outputs(*taught)))
    labels = arrays["labels"][expected["start"] : expected["start"] + BATCH_SIZE]
    batch = batch._replace(
        student=views[0].student,
        teacher=views[0].teacher,
        labels=jnp.asarray(labels),
        strong=views[1],
    )
    method = create_method("MLKD", logit_standardization=expected["ls"])
    numbers = {"temperature": 2.0, "ce_weight": 0.1, "kd_weight": 9.0}
    losses = jax.jit(method.apply)({}, batch, numbers)
    assert losses.keys() == expected["losses"].keys()
    for term, value in expected["losses"].items():
        assert float(losses[term]) == pytest.approx(value, rel=1e-7), term


def test_every_method_has_a_section_in_the_config():
    assert {*default.methods(), "vanilla"} == METHODS.keys()


def random_outputs(key, network, batch_size):
    """Of a network's shapes, positive as after a ReLU where they should be."""
    images = jnp.zeros((batch_size, 32, 32, 3))
    shapes = jax.eval_shape(
        lambda: Outputs(*network.init_with_output(jax.random.key(0), images)[0])
    )
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(key, len(leaves))
    outputs = jax.tree.unflatten(
        structure,
        [jax.random.normal(k, s.shape) for k, s in zip(keys, leaves, strict=True)],
    )
    features = dict(outputs.features)
    features["feats"] = [jnp.abs(feat) for feat in features["feats"]]
    features["pooled_feat"] = jnp.abs(features["pooled_feat"])
    return Outputs(outputs.logits, features)


def random_batch(batch_size=8):
    """From a wider teacher, of 10 classes and 64 examples."""
    keys = jax.random.split(jax.random.key(3), 3)
    student = create_model("resnet8", num_classes=10)
    teacher = create_model("resnet8x4", num_classes=10)
    train_labels = jnp.arange(64) % 10
    indices = jax.random.permutation(keys[0], 64)[:batch_size]
    norms = [
        Norm(jnp.linspace(0.5, 1.5, width), jnp.linspace(-1, 1, width))
        for width in (64, 128, 256)
    ]
    view_keys = jax.random.split(jax.random.key(4))
    return Batch(
        student=random_outputs(keys[1], student, batch_size),
        teacher=random_outputs(keys[2], teacher, batch_size),
        labels=train_labels[indices],
        indices=indices,
        train_labels=train_labels,
        epoch=jnp.asarray(3.0),
        teacher_norms=norms,
        strong=View(
            random_outputs(view_keys[0], student, batch_size),
            random_outputs(view_keys[1], teacher, batch_size),
        ),
    )


KEYS = {"params": jax.random.key(0), "method": jax.random.key(1)}


def run_method(method, variables, batch, numbers):
    """Losses, what it remembers after, and gradients by the student's and its own."""
    params = variables.get("params", {})
    remembered = {key: variables[key] for key in variables if key != "params"}

    def total(student, params):
        losses, moved = method.apply(
            {"params": params, **remembered},
            batch._replace(student=student),
            numbers,
            mutable=list(remembered),
            rngs={"method": KEYS["method"]},
        )
        return sum(losses.values()), (losses, moved)

    gradients, (losses, moved) = jax.grad(total, (0, 1), has_aux=True)(
        batch.student, params
    )
    return losses, moved, gradients


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_the_same_on_one_device_and_on_two(x64, name):
    fixed, numbers = settings(name)
    options = {"dtype": jnp.float64, "precision": "highest"}
    method = create_method(name, **fixed, **options)
    batch = random_batch()
    variables = jax.jit(method.init)(KEYS, batch, numbers)
    losses, moved, (of_student, of_method) = jax.jit(run_method, static_argnums=0)(
        method, variables, batch, numbers
    )
    assert losses and all(loss.shape == () and loss > 0 for loss in losses.values())
    assert any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(of_student))
    for leaf in jax.tree.leaves(of_method):
        assert jnp.all(jnp.isfinite(leaf)) and jnp.any(leaf != 0)
    for before, after in zip(
        jax.tree.leaves({k: v for k, v in variables.items() if k != "params"}),
        jax.tree.leaves(moved),
        strict=True,
    ):
        assert not np.array_equal(before, after)

    def halves(leaf):
        return leaf.reshape(2, leaf.shape[0] // 2, *leaf.shape[1:])

    split = batch._replace(
        student=jax.tree.map(halves, batch.student),
        teacher=jax.tree.map(halves, batch.teacher),
        labels=halves(batch.labels),
        indices=halves(batch.indices),
        strong=jax.tree.map(halves, batch.strong),
    )
    axes = Batch(0, 0, 0, 0, None, None, None, 0)
    of_two = create_method(name, axis_name="devices", **fixed, **options)

    def on_device(variables, batch):
        losses, moved, (of_student, of_method) = run_method(
            of_two, variables, batch, numbers
        )
        mean = functools.partial(jax.lax.pmean, axis_name="devices")
        # The gradient of the mean over the devices is the mean of their gradients.
        of_student = jax.tree.map(lambda leaf: leaf / 2, of_student)
        return mean(losses), moved, (of_student, mean(of_method))

    found = jax.pmap(
        on_device, "devices", in_axes=(None, axes), devices=jax.devices()[:2]
    )(variables, split)
    same = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    for device in range(2):
        part = jax.tree.map(lambda leaf, device=device: leaf[device], found)
        jax.tree.map(same, part[0], losses)
        jax.tree.map(same, part[1], moved)
        jax.tree.map(same, part[2][1], of_method)
    whole = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found[2][0])
    jax.tree.map(same, whole, of_student)


def test_contrasted_examples_are_of_other_classes_and_each_comes_once():
    labels = jnp.arange(100) % 10
    once = crd.sample_others(jax.random.key(0), labels[3], labels, 50)
    assert len(set(once.tolist())) == 50 and 3 not in set(labels[once].tolist())
    often = crd.sample_others(jax.random.key(0), labels[3], labels, 2000)
    assert set(labels[often].tolist()) == {*range(10)} - {3}
    assert set(often.tolist()) == {i for i in range(100) if i % 10 != 3}


@pytest.mark.parametrize(
    ("name", "student"), [("OFD", "resnet8"), ("ReviewKD", "vgg8")]
)
def test_a_pair_that_cannot_be_is_refused_with_the_reason(name, student):
    batch = random_batch()._replace(teacher_norms=[])
    network = create_model(student, num_classes=10)
    outputs = random_outputs(jax.random.key(0), network, 8)
    with pytest.raises(UserError, match=f"method {name}"):
        create_method(name).init(
            KEYS, batch._replace(student=outputs), settings(name)[1]
        )


def digits_run(name, augmentation, optimizer):
    """Two students of seeds 0 and 1 on two devices, and what their steps take."""
    config = digits_config.get_config("none")
    config.method, config.augmentation = name, augmentation
    config.optimizer.name = optimizer
    if name == "vanilla":
        config.teacher.model = ""
    dataset = digits.load()
    made = Programs(
        create_problem(config, dataset), 2, "batch", devices=jax.devices()[:2]
    )
    teacher = None
    if config.teacher.model:
        teacher = load_model(Path(config.teacher.checkpoint)).variables
    numbers = create_hyperparameters(config, steps_per_epoch=100)
    examples = made.replicate(dataset.train)
    fixed = made.replicate(teacher), examples, made.replicate_students([numbers] * 2)

    def steps(states, first, count):
        teacher, examples, numbers = fixed
        orders = made.epoch_orders(states, 100, len(dataset.train.labels))
        arguments = (teacher, examples, orders, first * 8, count, numbers, 8)
        return made.train_steps(states, *arguments)[0]

    return made, steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "augmentation", "optimizer"),
    [
        *((name, "none", "sgd") for name in METHODS),
        *((name, "disagreement", "sgd") for name in METHODS if name != "vanilla"),
        *(("KD", augmentation, "sgd") for augmentation in ("fgsm", "noise", "pgd")),
        ("KD", "disagreement", "dot"),
        ("VID", "none", "dot"),
    ],
)
def test_every_method_trains_is_kept_and_goes_on(
    tmp_path, name, augmentation, optimizer
):
    made, steps = digits_run(name, augmentation, optimizer)
    begun = made.students(made.create_train_states(0))
    whole = made.students(steps(made.create_train_states(0), 0, 3))
    halfway = made.students(steps(made.create_train_states(0), 0, 2))

    checkpoints = RunCheckpoints(tmp_path)
    best = [student.variables for student in halfway]
    trees = [to_tree(student) for student in halfway]
    checkpoints.save(RunCheckpoint("resnet8", 10, trees, best, 0, []))
    checkpoints.close()
    checkpoints = RunCheckpoints(tmp_path)
    restored = checkpoints.restore()
    checkpoints.close()
    assert all(student.keys() == {"params", "batch_stats"} for student in restored.best)
    halfway = [
        from_tree(student, tree)
        for student, tree in zip(begun, restored.students, strict=True)
    ]
    resumed = made.students(steps(made.replicate_students(halfway), 2, 1))
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    for before, after in zip(begun, whole, strict=True):
        assert after.step == 3 and after.metrics["loss"].count == 3 * 8
        assert after.metrics["finite"].total == 3 * 8
        for one, two in zip(
            jax.tree.leaves(before.auxiliary),
            jax.tree.leaves(after.auxiliary),
            strict=True,
        ):
            assert not np.array_equal(one, two)
