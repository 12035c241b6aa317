"""What every distillation method must do, and what each one refuses."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from da_jax.configs import default
from da_jax.configs import digits as digits_config

from da_jax import declarations
from da_jax.config.build import create_hyperparameters, create_task
from da_jax.data import digits
from da_jax.errors import UserError
from da_jax.methods import (
    METHODS,
    MethodInputs,
    Outputs,
    ViewOutputs,
    crd,
    create_method,
)
from da_jax.models import create_model, reusing
from da_jax.models.network import Classifier, Norm
from da_jax.storage.model_folders import load_model
from da_jax.storage.run_checkpoints import (
    RunCheckpoint,
    RunCheckpoints,
    from_tree,
    to_tree,
)
from da_jax.training.parallel import PmappedSteps


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
    features["last_map"] = jnp.abs(features["last_map"])
    return Outputs(outputs.logits, features)


def random_classifier(key, width):
    kernel, bias = jax.random.split(key)
    return Classifier(
        jax.random.normal(kernel, (width, 10)), jax.random.normal(bias, (10,))
    )


def random_batch(name="KD", batch_size=8):
    """For a method: from a wider teacher, of 10 classes and 64 examples."""
    keys = jax.random.split(jax.random.key(3), 3)
    reuses = METHODS[name].reuses_classifier
    student = create_model(
        reusing("resnet8", "resnet8x4") if reuses else "resnet8", num_classes=10
    )
    teacher = create_model("resnet8x4", num_classes=10)
    train_labels = jnp.arange(64) % 10
    indices = jax.random.permutation(keys[0], 64)[:batch_size]
    norms = [
        Norm(jnp.linspace(0.5, 1.5, width), jnp.linspace(-1, 1, width))
        for width in (64, 128, 256)
    ]
    view_keys = jax.random.split(jax.random.key(4))
    return MethodInputs(
        student=random_outputs(keys[1], student, batch_size),
        teacher=random_outputs(keys[2], teacher, batch_size),
        labels=train_labels[indices],
        indices=indices,
        train_labels=train_labels,
        epoch=jnp.asarray(3.0),
        teacher_norms=norms,
        strong=ViewOutputs(
            random_outputs(view_keys[0], student, batch_size),
            random_outputs(view_keys[1], teacher, batch_size),
        ),
        student_classifier=random_classifier(jax.random.key(5), 64),
        teacher_classifier=random_classifier(jax.random.key(6), 256),
    )


KEYS = {"params": jax.random.key(0), "method": jax.random.key(1)}


def run_method(method, variables, batch, method_weights):
    """Losses, what it remembers after, and gradients by the student's and its own."""
    params = variables.get("params", {})
    remembered = {key: variables[key] for key in variables if key != "params"}

    def total(student, params):
        losses, moved = method.apply(
            {"params": params, **remembered},
            batch._replace(student=student),
            method_weights,
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
    _, method_weights = declarations.split(METHODS[name], {})
    options = {"dtype": jnp.float64, "precision": "highest"}
    method = create_method(name, **options)
    batch = random_batch(name)
    variables = jax.jit(method.init)(KEYS, batch, method_weights)
    losses, moved, (of_student, of_method) = jax.jit(run_method, static_argnums=0)(
        method, variables, batch, method_weights
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
    axes = MethodInputs(0, 0, 0, 0, None, None, None, 0)
    of_two = create_method(name, axis_name="devices", **options)

    def on_device(variables, batch):
        losses, moved, (of_student, of_method) = run_method(
            of_two, variables, batch, method_weights
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
    _, method_weights = declarations.split(METHODS[name], {})
    with pytest.raises(UserError, match=f"method {name}"):
        create_method(name).init(KEYS, batch._replace(student=outputs), method_weights)


def with_features(batch, names):
    """The batch of networks that return these features alone."""

    def reduced(outputs):
        return outputs._replace(features={n: outputs.features[n] for n in names})

    return batch._replace(
        student=reduced(batch.student), teacher=reduced(batch.teacher)
    )


@pytest.mark.parametrize("name", METHODS)
def test_methods_need_the_features_that_they_declare(name):
    method = create_method(name)
    batch = random_batch(name)
    init = functools.partial(jax.eval_shape, method.init, KEYS)
    _, method_weights = declarations.split(METHODS[name], {})
    init(with_features(batch, method.features), method_weights)
    plain = with_features(batch, ())
    if not method.features:
        return
    missing = f"method {name} needs the features {', '.join(method.features)} of the"
    with pytest.raises(UserError, match=f"{missing} student.*only logits;"):
        init(plain, method_weights)
    with pytest.raises(UserError, match=f"{missing} teacher.*only logits;"):
        init(plain._replace(student=batch.student), method_weights)


@pytest.mark.parametrize(
    ("name", "role"),
    [(name, role) for name in METHODS for role in METHODS[name].classifiers],
)
def test_methods_need_the_classifiers_that_they_declare(name, role):
    batch = random_batch(name)._replace(**{f"{role}_classifier": None})
    _, method_weights = declarations.split(METHODS[name], {})
    message = f"method {name} needs the classifier of the {role}, which only a"
    with pytest.raises(UserError, match=message):
        create_method(name).init(KEYS, batch, method_weights)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "vanilla"])
def test_distillation_needs_a_teacher(name):
    batch = random_batch()._replace(teacher=None)
    with pytest.raises(AssertionError, match="needs a teacher"):
        create_method(name).init(KEYS, batch, declarations.split(METHODS[name], {})[1])


def digits_run(name, augmentation, optimizer):
    """Steps on two devices, two students at their start, and a function that trains."""
    config = digits_config.get_config("none")
    config.method, config.augmentation = name, augmentation
    config.optimizer.name = optimizer
    if name == "vanilla":
        config.teacher.model = ""
    dataset = digits.load()
    made = PmappedSteps(create_task(config, dataset), 2, devices=jax.devices()[:2])
    teacher = None
    if config.teacher.model:
        teacher = load_model(Path(config.teacher.checkpoint)).variables
    hyperparameters = create_hyperparameters(config, steps_per_epoch=100)
    teacher, examples = made.replicate(teacher), made.replicate(dataset.train)
    of_both = made.replicate_students([hyperparameters] * 2)

    def create_states():
        return made.create_train_states(0, hyperparameters)

    def steps(states, first, count):
        orders = made.epoch_orders(states, 100, len(dataset.train.labels))
        arguments = (teacher, examples, orders, first * 8, count, of_both, 8)
        return made.train_steps(states, *arguments)[0]

    return made, create_states, steps


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
    made, create_states, steps = digits_run(name, augmentation, optimizer)
    begun = made.students(create_states())
    whole = made.students(steps(create_states(), 0, 3))
    halfway = made.students(steps(create_states(), 0, 2))

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
