"""The library: the original's numbers, gradients, coins, states, mistakes."""

import doctest
import functools
import importlib
import subprocess
import sys
from pathlib import Path

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import da_jax
from da_jax import losses
from da_jax.augmentations import Context
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data.batch import Batch
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.models import create_model
from tests import golden
from tests.parity import variables as golden_variables
from tests.small_networks import (
    CLASSES,
    NNX,
    equinox_network,
    images,
    linen_functions,
    variables,
)
from tests.training.step_test import running_and_params, trajectory

REPOSITORY = Path(__file__).parent.parent.parent
MODULES = ("ascend", "baselines", "disagreement", "normalization", "plateau")
ASCENTS = tuple(f"ascent.{name}" for name in MODULES)
LOSSES = (
    "losses.correlation",
    "losses.decoupled",
    "losses.regions",
    "losses.standardization",
    "losses.temperature",
    "losses.transport",
    "losses.views",
)


@pytest.mark.parametrize("name", [*ASCENTS, *LOSSES])
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"da_jax.{name}")
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted >= 4 and found.failed == 0


def test_importing_it_imports_nothing_heavy():
    program = (
        "import sys, da_jax; assert 'jax' not in sys.modules;"
        "used = [getattr(da_jax, name) for name in da_jax.__all__];"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}));"
        "print(*sorted(name for name in sys.modules if name.startswith('da_jax')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    all_modules, ours = (set(line.split()) for line in done.stdout.splitlines())
    assert not all_modules & {
        *("tensorflow_datasets", "tensorflow", "orbax", "clu", "ml_collections"),
        *("sklearn", "scipy", "torch", "PIL", "flax"),
    }
    packages = {"da_jax", "da_jax.ascent", "da_jax.losses", "da_jax.losses.interface"}
    assert ours == packages | {f"da_jax.{name}" for name in (*ASCENTS, *LOSSES)}


def pair(state=None):
    """The golden vectors' networks in float64, as functions."""
    student, teacher = (
        create_model(name, dtype=jnp.float64, precision="highest")
        for name in ("resnet8x4", "resnet32x4")
    )
    weights = state or golden_variables("resnet8x4", 1, jnp.float64)
    of_teacher = golden_variables("resnet32x4", 2, jnp.float64)

    def student_function(x, batch_stats):
        variables = {"params": weights["params"], "batch_stats": batch_stats}
        (logits, _), moved = student.apply(
            variables, x, train=True, mutable=["batch_stats"]
        )
        return logits, moved["batch_stats"]

    def teacher_function(x):
        return teacher.apply(of_teacher, x, train=False)[0]

    return student_function, teacher_function, weights["batch_stats"]


def golden_batch(description, step=0):
    _, arrays = golden.load("training")
    start = description["start"] + 8 * step
    stored, labels = (arrays[name][start : start + 8] for name in ("images", "labels"))
    x = PREPROCESSING.normalize(jnp.asarray(stored), jnp.float64)
    return x, jnp.asarray(labels)


@pytest.mark.parametrize("kind", ["da_1step", "da_3steps"])
def test_images_equal_the_original_s(x64, kind):
    description, arrays = golden.load("training")
    expected, steps = description[kind], int(kind[3])
    states = [None]
    if steps == 1:  # three steps of training, each with its ascent
        trained = trajectory(kind, jnp.float64, 2)
        states += [state.variables for state, _, _ in trained]
    for index, state in enumerate(states):
        student, teacher, batch_stats = pair(state)
        x, _ = golden_batch(expected, index)
        augment = functools.partial(
            da_jax.disagreement_augment, student=student, teacher=teacher, steps=steps
        )
        moved = jax.jit(lambda x, s, a=augment: a(x, student_state=s))(x, batch_stats)
        reference = arrays[f"{kind}/step{index}/student_input{steps}"]
        assert np.abs(moved.x - reference).max() < 1e-6
        assert moved.after > moved.before


@pytest.mark.parametrize("kind", ["kl_1step", "kl_2steps_logit_stand", "fgsm"])
def test_later_variants_equal_the_original_s(x64, kind):
    description, arrays = golden.load("training")
    expected = description["later_variants"][kind]
    student, teacher, batch_stats = pair()
    x, labels = golden_batch(expected)
    if kind == "fgsm":
        moved = da_jax.fgsm(x, student, labels, student_state=batch_stats)
    else:
        moved = da_jax.disagreement_augment(
            x,
            student,
            teacher,
            student_state=batch_stats,
            learning_rate=0.00192,
            steps=int(kind[3]),
            divergence="kl",
            logit_standardization="logit_stand" in kind,
            update_state=False,
            reduce_on_plateau=False,
        )
        for one, two in zip(
            jax.tree.leaves(moved.state), jax.tree.leaves(batch_stats), strict=True
        ):
            np.testing.assert_array_equal(one, two)
    assert np.abs(moved.x - arrays[f"{kind}/student_input"]).max() < 1e-6


def test_the_plateau_equals_pytorch_s_for_60_steps():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    falling = 2.0 - 0.1 * np.arange(15)
    values = np.concatenate([falling, rng.normal(0.6, 1e-3, 45)])
    parameter = torch.zeros(1, requires_grad=True)
    theirs = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, mode="min", factor=0.1, patience=10, threshold=1e-4
    )
    optimizer = da_jax.reduce_on_plateau()
    state = optimizer.init(jnp.zeros(()))
    cuts = 0
    for value in values:
        expected = theirs.param_groups[0]["lr"]
        scale, state = optimizer.update(jnp.ones(()), state, value=value)
        assert float(scale) == pytest.approx(expected, rel=1e-6)
        scheduler.step(value)
        cuts += theirs.param_groups[0]["lr"] < expected
    assert cuts >= 2


def test_60_steps_equal_the_trainer_s(x64):
    """Of waves, where Adam overshoots a maximum, so that α is cut."""
    rng = np.random.default_rng(0)
    weights, x = (jnp.asarray(rng.normal(size=shape)) for shape in [(8, 5), (16, 8)])

    def student(x, state):
        return jnp.sin(x @ weights), state + 1

    def teacher(x):
        return jnp.cos(x @ weights)

    context = Context(
        student=student,
        teacher=teacher,
        batch_stats=jnp.zeros(()),
        hyperparameters={"probability": 1.0, "learning_rate": 0.05, "steps": 60},
        scale=jnp.ones(()),
        coin_key=jax.random.key(0),
        noise_key=jax.random.key(1),
        axis_name=None,
    )
    batch = Batch(x, jnp.zeros(16, jnp.int32), jnp.arange(16))
    theirs = DisagreementAugmentation()(batch, context)
    never_cut = DisagreementAugmentation(reduce_on_plateau=False)(batch, context)
    assert np.abs(never_cut.batch.images - theirs.batch.images).max() > 1e-3
    ours = da_jax.disagreement_augment(
        x, student, teacher, student_state=jnp.zeros(()), learning_rate=0.05, steps=60
    )
    np.testing.assert_allclose(ours.x, theirs.batch.images, rtol=0, atol=1e-8)
    assert ours.state == theirs.batch_stats == 60


def loss_of(params, x, labels):
    return losses.kd(x @ params["w"] + params["b"], x @ params["w"][:, ::-1], labels)


def augmented(params, x, key, steps):
    """DA with a student and a step size that are differentiated."""
    return da_jax.disagreement_augment(
        x,
        lambda x: x @ params["w"] + params["b"],
        lambda x: jnp.tanh(x @ params["w"][:, ::-1]),
        learning_rate=0.05 * jnp.exp(params["b"][0]),
        steps=steps,
        key=key,
        random_init=key is not None,
    )


def both_gradients(params, x, labels, key, steps):
    """Of the loss with the ascent inside, and with its result as a constant."""

    def inside(params):
        moved = augmented(params, x, key, steps)
        terms = loss_of(params, moved.x, labels)
        return sum(terms.values()) + moved.before + moved.after

    constant = augmented(params, x, key, steps).x
    return jax.grad(inside)(params), jax.grad(
        lambda params: sum(loss_of(params, constant, labels).values())
    )(params)


@pytest.mark.parametrize("how", ["eager", "jit", "vmap", "pmap"])
@pytest.mark.parametrize("with_key", [False, True])
@pytest.mark.parametrize("steps", [1, 3, "traced"])
def test_no_gradient_passes_through(how, with_key, steps):
    rng = np.random.default_rng(1)
    count = 4 if how in ("vmap", "pmap") else 1
    params = {
        "w": jnp.asarray(rng.normal(size=(count, 7, 5)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=(count, 5)), jnp.float32),
    }
    x = jnp.asarray(rng.normal(size=(count, 16, 7)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 5, (count, 16)))
    keys = jax.random.split(jax.random.key(3), count)
    number = jnp.full(count, 2)

    def gradients(params, x, labels, key, number):
        return both_gradients(
            params,
            x,
            labels,
            key if with_key else None,
            number if steps == "traced" else steps,
        )

    arguments = (params, x, labels, keys, number)
    if count == 1:
        arguments = jax.tree.map(lambda leaf: leaf[0], arguments)
    mapped = {
        "eager": gradients,
        "jit": jax.jit(gradients),
        "vmap": jax.vmap(gradients),
        "pmap": jax.pmap(gradients, devices=jax.devices()[:count]),
    }[how]
    inside, outside = mapped(*arguments)
    for one, two in zip(jax.tree.leaves(inside), jax.tree.leaves(outside), strict=True):
        np.testing.assert_array_equal(one, two)
        assert np.abs(one).max() > 0


def eqns(jaxpr):
    """The names of all primitives in a jaxpr."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from eqns(inner)


def primitives(**options):
    student, teacher = linen_functions(variables(0), variables(1))
    state = variables(0)["batch_stats"]

    def call(x, state, key):
        needs_key = {"key": key} if options.pop("with_key", False) else {}
        return da_jax.disagreement_augment(
            x, student, teacher, student_state=state, **options, **needs_key
        )

    made = jax.make_jaxpr(call)(images(4), state, jax.random.key(0))
    return set(eqns(made.jaxpr))


def test_one_static_step_traces_no_loop_and_no_conditional():
    assert not primitives() & {"while", "scan", "cond"}
    assert primitives(steps=2) & {"while", "scan"}
    assert primitives(with_key=True, probability=0.5) & {"while"}


def test_what_is_not_used_costs_nothing():
    student, teacher = linen_functions(variables(0), variables(1))
    state = variables(0)["batch_stats"]

    def flops(names):
        def call(x, state):
            moved = da_jax.disagreement_augment(
                x, student, teacher, student_state=state
            )
            return [getattr(moved, name) for name in names]

        return jax.jit(call).lower(images(8), state).compile().cost_analysis()["flops"]

    assert flops(["x", "state", "before"]) < 1.01 * flops(["x", "state"])
    assert flops(["x", "state", "after"]) > 1.2 * flops(["x", "state"])


def counted(calls):
    """A student that counts its evaluations, unless nobody needs them."""

    def count(x):
        calls.append(1)
        return x

    def student(x, state):
        total = jax.lax.stop_gradient(x.sum())
        ran = jax.pure_callback(count, jax.ShapeDtypeStruct((), x.dtype), total)
        return x @ jnp.eye(4, 3) + 0 * ran, state + 1

    return student


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_coin_decides_whether_the_ascent_is_executed(probability):
    calls = []
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)

    @jax.jit
    def call(x, key):
        moved = da_jax.disagreement_augment(
            x,
            counted(calls),
            lambda x: jnp.tanh(x @ jnp.ones((4, 3))),
            student_state=jnp.zeros(()),
            steps=3,
            key=key,
            probability=probability,
        )
        return moved.x, moved.state, moved.applied

    moved, state, applied = jax.block_until_ready(call(x, jax.random.key(0)))
    assert bool(applied) == (probability == 1.0)
    assert state == len(calls) == (3 if applied else 0)
    assert bool(jnp.all(moved == x)) != bool(applied)


def test_the_coin_is_fair_and_one_for_the_batch():
    x, of_student, of_teacher = (
        jax.random.normal(jax.random.key(seed), shape)
        for seed, shape in enumerate([(6, 4), (4, 3), (4, 3)])
    )

    def call(key):
        moved = da_jax.disagreement_augment(
            x,
            lambda x: x @ of_student,
            lambda x: x @ of_teacher,
            key=key,
            probability=0.7,
        )
        return moved.applied, jnp.any(moved.x != x, axis=1)

    applied, moved = jax.vmap(call)(jax.random.split(jax.random.key(0), 400))
    assert 0.6 < applied.mean() < 0.8
    assert (moved == applied[:, None]).all()


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("traced", [False, True])
def test_before_and_after_are_of_the_first_and_the_last_batch(x64, steps, traced):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)))

    def objective(x, state):
        return jnp.sum(x**2, axis=-1), state + 1

    def call(steps):
        return da_jax.ascend(
            x, objective, optimizer=optax.sgd(0.5), steps=steps, state=jnp.zeros(())
        )

    up = jax.jit(call)(steps) if traced else call(steps)
    assert up.state == steps  # the last look moves no statistics
    assert bool(up.applied) == (steps > 0)
    assert float(up.before) == pytest.approx(float(jnp.mean(jnp.sum(x**2, -1))))
    assert float(up.after) == pytest.approx(float(jnp.mean(jnp.sum(up.x**2, -1))))
    np.testing.assert_allclose(up.x, x * (1 + 1 / 6) ** steps)


def test_the_optimizer_sees_the_descent_direction_and_minus_the_mean():
    def update(gradient, state, params=None, *, value, values, **extra):
        scale = jnp.where(value == -51, 1, 0) * jnp.where((values == -51).all(), 1, 0)
        return jax.tree.map(lambda g, p: -g * p * scale, gradient, params), state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: (), update)
    x = {"text": jnp.ones((2, 3)), "image": jnp.ones((2, 4, 4, 1))}

    def objective(x, state):
        return x["text"].sum(axis=1) + 3 * x["image"].sum(axis=(1, 2, 3)), state

    up = da_jax.ascend(x, objective, optimizer=optimizer, steps=1)
    assert up.before == 51 and up.state is None
    np.testing.assert_allclose(up.x["text"], 1.5)
    np.testing.assert_allclose(up.x["image"], 2.5)


def test_projection_and_its_origin():
    x = jnp.array([[0.2, 0.9], [0.5, 0.0]])
    up = da_jax.ascend(
        x,
        lambda x, state: (x.sum(axis=1), state),
        optimizer=optax.sign_sgd(0.3),
        steps=5,
        project=lambda x, origin: jnp.clip(x, origin - 0.4, origin + 0.4).clip(0, 1),
    )
    np.testing.assert_allclose(up.x, [[0.6, 1.0], [0.9, 0.4]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_state_comes_back_in_its_dtypes(dtype):
    state = {"mean": jnp.zeros(4, dtype), "count": jnp.zeros((), jnp.int32)}

    def student(x, state):
        return x @ jnp.eye(4, 3), {
            "mean": x.mean(axis=0).astype(jnp.float32),
            "count": state["count"] + 1,
        }

    moved = da_jax.disagreement_augment(
        jnp.ones((2, 4)),
        student,
        lambda x: x @ jnp.ones((4, 3)),
        student_state=state,
        steps=2,
    )
    assert moved.state["mean"].dtype == dtype
    assert moved.state["count"] == 2 and moved.state["count"].dtype == jnp.int32


def test_linen_nnx_and_equinox_give_the_same_images(x64):
    weights, of_teacher = variables(0, jnp.float64), variables(1, jnp.float64)
    x = jnp.asarray(images(8, np.float64))
    student, teacher = linen_functions(weights, of_teacher)
    augment = functools.partial(
        da_jax.disagreement_augment, teacher=teacher, steps=jnp.asarray(3)
    )
    by_linen = augment(x, student, student_state=weights["batch_stats"])

    model = NNX(weights)
    model.train()
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)

    def nnx_student(x, state):
        model = nnx.merge(graphdef, params, state)
        logits = model(x)
        return logits, nnx.state(model, nnx.Not(nnx.Param))

    for call in (augment, jax.jit(augment, static_argnums=1)):
        by_nnx = call(x, nnx_student, student_state=rest)
        np.testing.assert_allclose(by_nnx.x, by_linen.x, rtol=0, atol=1e-10)
        for name in ("mean", "var"):
            found = by_nnx.state["norm"][name].get_value()
            expected = by_linen.state["BatchNorm_0"][name]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)

    network, state = equinox_network(weights)

    def equinox_student(x, state):
        images = jnp.moveaxis(x, -1, 1)
        return jax.vmap(network, (0, None), (0, None), axis_name="batch")(images, state)

    by_equinox = augment(x, equinox_student, student_state=state)
    np.testing.assert_allclose(by_equinox.x, by_linen.x, rtol=0, atol=1e-10)
    assert np.abs(by_linen.x - x).max() > 0.01


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_moved_in_float32(dtype):
    weights = jax.random.normal(jax.random.key(1), (2, 4, 3))
    seen = []

    def network(x, w):
        seen.append(x.dtype)
        return x.astype(jnp.float32) @ w

    x = {
        "half": jax.random.normal(jax.random.key(0), (6, 4), dtype),
        "full": jnp.ones((6, 4)),
    }

    def augment(x):
        return da_jax.disagreement_augment(
            x,
            lambda x: network(x["half"], weights[0]) + x["full"] @ weights[0],
            lambda x: network(x["half"], weights[1]),
            steps=3,
        )

    moved = augment(x)
    assert set(seen) == {jnp.dtype(dtype)}
    assert jax.tree.map(lambda leaf: leaf.dtype, moved.x) == jax.tree.map(
        lambda leaf: leaf.dtype, x
    )
    expected = augment(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), x))
    rounding = float(jnp.finfo(dtype).eps) * 4
    for name in x:
        np.testing.assert_allclose(
            np.asarray(moved.x[name], np.float32), expected.x[name], atol=rounding
        )
    noisy = da_jax.noise(
        x,
        lambda x: network(x["half"], weights[0]),
        lambda x: network(x["half"], weights[1]),
        key=jax.random.key(0),
    )
    assert noisy.x["half"].dtype == dtype and noisy.x["full"].dtype == jnp.float32


def test_equal_keys_give_equal_coins():
    x, labels = jnp.ones((4, 3)), jnp.zeros(4, jnp.int32)
    student, teacher = (lambda x: x @ jnp.eye(3)), (lambda x: x @ jnp.ones((3, 3)))

    def coins(key):
        options = dict(key=key, probability=0.5)
        return [
            da_jax.disagreement_augment(x, student, teacher, **options).applied,
            da_jax.noise(x, student, teacher, **options).applied,
            da_jax.fgsm(x, student, labels, **options).applied,
            da_jax.pgd(x, student, labels, **options).applied,
        ]

    found = jnp.stack(jax.vmap(coins)(jax.random.split(jax.random.key(0), 64)))
    assert (found == found[0]).all() and 0.3 < found[0].mean() < 0.7


def test_standardised_logits_have_gradients_where_they_are_equal(x64):
    logits = jnp.array([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
    gradient = jax.jacobian(losses.standardize)(logits)
    assert jnp.isfinite(gradient).all()
    found = losses.standardize(logits)
    torch = pytest.importorskip("torch")
    std = torch.tensor(np.asarray(logits)).std(dim=1, keepdim=True).numpy()
    expected = (logits - logits.mean(axis=1, keepdims=True)) / (std + 1e-7)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_pgd_stays_in_its_ball_and_raises_the_loss():
    student, _ = linen_functions(variables(0), variables(1))
    state = variables(0)["batch_stats"]
    x, labels = jnp.asarray(images(8)), jnp.arange(8) % CLASSES
    moved = da_jax.pgd(x, student, labels, student_state=state, steps=6)
    distance = np.abs(np.asarray(moved.x - x))
    assert distance.max() == pytest.approx(0.01778, rel=1e-3)
    assert moved.after > moved.before
    one = da_jax.pgd(
        x, student, labels, student_state=state, steps=1, learning_rate=0.01778
    )
    gradient = jax.grad(lambda x: losses.cross_entropy(student(x, state)[0], labels))(x)
    np.testing.assert_allclose(one.x, x + 0.01778 * jnp.sign(gradient), atol=1e-6)


def test_noise_goes_as_far_as_the_ascent():
    student, teacher = linen_functions(variables(0), variables(1))
    options = dict(student_state=variables(0)["batch_stats"], steps=2)
    x = jnp.asarray(images(8))
    up = da_jax.disagreement_augment(x, student, teacher, **options)
    keys = jax.random.split(jax.random.key(1), 2)
    noisy, other = (
        da_jax.noise(x, student, teacher, key=key, **options) for key in keys
    )
    lengths = [
        np.linalg.norm((moved.x - x).reshape(8, -1), axis=1)
        for moved in (up, noisy, other)
    ]
    np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-5)
    np.testing.assert_allclose(lengths[0], lengths[2], rtol=1e-5)
    assert not np.allclose(noisy.x, other.x)
    assert noisy.before == up.before and noisy.after < up.after
    assert jax.tree.all(jax.tree.map(jnp.array_equal, noisy.state, up.state))
    never = da_jax.noise(x, student, teacher, key=keys[0], probability=0.0, **options)
    np.testing.assert_array_equal(never.x, x)


def test_reference_batch_makes_a_batch_move_as_one_of_that_size(x64):
    student, teacher = (jnp.asarray(images(1, np.float64, s)[0]) for s in (1, 2))
    student, teacher = (w.reshape(-1, 6) for w in (student, teacher))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, student.shape[0])))

    def call(x, **options):
        return da_jax.disagreement_augment(
            x, lambda x: x @ student, lambda x: x @ teacher, **options
        ).x

    np.testing.assert_allclose(
        call(x, reference_batch=8)[:8], call(x[:8]), rtol=0, atol=1e-12
    )
    assert np.abs(call(x)[:8] - call(x[:8])).max() > 1e-9


MISTAKES = r"""
import jax, jax.numpy as jnp, optax
import da_jax
from da_jax import ascend, disagreement_augment as da, fgsm, losses, noise, pgd
x, w, key = jnp.ones((4, 3)), jnp.ones((3, 5)), jax.random.key(0)
f, g, labels = (lambda x: x @ w), (lambda x: 2 * x @ w), jnp.zeros(4, int)
sgd, up = optax.sgd(1.0), lambda x, s: (x.sum(axis=1), s)
CALLS = {
    "unknown divergence 'l2'; known: mse, kl": lambda: da(x, f, g, divergence="l2"),
    "probability is 1.5; it must be from 0 to 1": lambda: da(x, f, g, probability=1.5),
    "flipping a coin needs a key": lambda: da(x, f, g, probability=0.5),
    "random_init draws noise; give key=": lambda: da(x, f, g, random_init=True),
    "steps is -1; it must be at least 0": lambda: da(x, f, g, steps=-1, key=key),
    "reference_batch is 0; it must be at least 1": lambda: da(
        x, f, g, reference_batch=0
    ),
    "the student's logits are [4, 5] and the teacher's [4, 3]": lambda: da(
        x, f, lambda x: x
    ),
    "both must be [B, K]": lambda: da(
        x, lambda x: x.sum(axis=1), lambda x: x.sum(axis=1)
    ),
    "the student must return (logits, state), but it returned a": lambda: da(
        x, lambda x, state: x @ w, g, student_state=jnp.zeros(3)
    ),
    "the state after a step must have the structure": lambda: da(
        x, lambda x, state: (x @ w, {"a": state}), g, student_state=jnp.zeros(3)
    ),
    "x is of dtype uint8": lambda: da(jnp.zeros((4, 3), jnp.uint8), f, g),
    "x has no arrays": lambda: ascend({}, up, optimizer=sgd, steps=1),
    "x needs one leading batch axis; its shapes are [4, 3], [2]": lambda: ascend(
        (x, jnp.ones(2)), up, optimizer=sgd, steps=1
    ),
    "the objective gave values of shape []; it must give one for each": lambda: ascend(
        x, lambda x, s: (x.sum(), s), optimizer=sgd, steps=1
    ),
    "and the labels [3]; they must be [B, K] and [B]": lambda: pgd(x, f, labels[:3]),
    "logits are [4] and the labels": lambda: fgsm(x, lambda x: x.sum(axis=1), labels),
    "probability is -0.1": lambda: noise(x, f, g, key=key, probability=-0.1),
    "they must be [B, K], [B, K] and [B]": lambda: losses.kd(f(x), x, labels),
    "and the labels [2]": lambda: losses.dkd(f(x), g(x), labels[:2]),
    "steps is 2.7; it must be an integer": lambda: da(x, f, g, steps=2.7),
    "steps is -2; it must be at least 0": lambda: da(x, f, g, steps=jnp.array(-2)),
    "the student must return logits, not a tuple; give its": lambda: da(
        x, lambda x: (x @ w, 0), g
    ),
    "the teacher must return logits, not a tuple": lambda: da(x, f, lambda x: (x, x)),
    "the objective must return (values, state)": lambda: ascend(
        x, lambda x, s: x.sum(axis=1), optimizer=sgd, steps=1
    ),
    "noise is drawn from a key": lambda: noise(x, f, g, key=None),
    "Factor must be in the range (0, 1)": lambda: da_jax.reduce_on_plateau(factor=2),
}
for expected, call in CALLS.items():
    try:
        call()
    except ValueError as error:
        message = str(error)
    assert expected in message and "\n" not in message, (expected, message)
print(len(CALLS))
"""


def test_wrong_arguments_are_one_clear_sentence():
    """In a process without the tests' type checker, which would complain first."""
    done = subprocess.run(
        [sys.executable, "-c", MISTAKES],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 26


def test_shapes_are_checked_in_the_tests():
    """By jaxtyping's import hook: it refuses before the function's own check."""
    with pytest.raises(Exception, match="kd") as error:
        losses.kd(jnp.ones((4, 5)), jnp.ones((4, 3)), jnp.zeros(4, int))
    assert type(error.value).__name__ == "TypeCheckError"


def test_golden_states_move_as_the_trainer_s(x64):
    """The running statistics after an ascent are those of the original's passes."""
    description, arrays = golden.load("training")
    student, teacher, batch_stats = pair()
    x, _ = golden_batch(description["da_1step"])
    moved = da_jax.disagreement_augment(x, student, teacher, student_state=batch_stats)
    _, after = student(moved.x, moved.state)  # the training step's own pass
    params = golden_variables("resnet8x4", 1, jnp.float64)["params"]
    variables = {"params": params, "batch_stats": after}
    found = running_and_params(type("State", (), {"variables": variables}))
    names = [n for n in arrays if n.startswith("da_1step/step0/running/")]
    assert names
    for name in names:
        value = found[name.removeprefix("da_1step/step0/running/")]
        np.testing.assert_allclose(value, arrays[name], rtol=1e-6, atol=1e-9)
