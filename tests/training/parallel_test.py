"""The same results for every number of devices, processes, seeds and compositions.

Twenty steps of Disagreement Augmentation, resnet8 → resnet8, from one device on which
each student is alone, to eight devices, two processes and several students at once.
"""

import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from da_jax.augmentations import ascent
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data import Dataset, Examples, digits
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.errors import UserError
from da_jax.methods import create_method
from da_jax.models import create_model
from da_jax.training.parallel import AXIS_NAME, PmappedSteps, batch_axis
from da_jax.training.state import Task
from tests import golden
from tests.parity import variables
from tests.training.step_test import PLAIN_KD, scalars

STEPS = 20
HYPERPARAMETERS = (scalars(PLAIN_KD, probability=0.7374),)
BATCH_SIZE = 8


def load(name):
    if name == "digits":
        return digits.load()
    images, labels = golden.cifar100()
    test = Examples(images[200:], labels[200:])  # 56 don't divide by the devices
    return Dataset(Examples(images, labels), lambda: test, 100, PREPROCESSING)


def create_task(dataset, dtype, axis_name, statistics_axis):
    network = functools.partial(
        create_model,
        num_classes=dataset.num_classes,
        dtype=dtype,
        precision="highest",
        axis_name=statistics_axis,
    )
    return Task(
        student=network("resnet8"),
        teacher=network("resnet8"),
        method=create_method("KD"),
        augmentation=DisagreementAugmentation(),
        preprocessing=dataset.preprocessing,
        dtype=dtype,
        axis_name=axis_name,
    )


def train(
    name,
    *,
    devices=1,
    dtype=jnp.float64,
    steps=STEPS,
    seed=0,
    students=1,
    parallel="batch",
    composition="unrolled",
    statistics_axis=AXIS_NAME,
    hyperparameters=HYPERPARAMETERS,
):
    """The students after `steps`, a program for the first and one for the others; their
    metrics of all the steps and of the evaluation."""
    dataset = load(name)
    if parallel == "seeds":
        statistics_axis = None
    made = PmappedSteps(
        create_task(dataset, dtype, batch_axis(parallel), statistics_axis),
        students,
        parallel,
        devices=jax.devices()[:devices],
        composition=composition,
    )
    teacher = variables("resnet8", 2, dtype)
    if name == "digits":
        fc = teacher["params"]["fc"]
        teacher["params"]["fc"] = {key: leaf[..., :10] for key, leaf in fc.items()}
    teacher = made.replicate(teacher)
    examples = made.replicate(dataset.train)
    if len(hyperparameters) == 1:
        hyperparameters *= students
    states = made.create_train_states(seed, hyperparameters[0])
    hyperparameters = made.replicate_students(hyperparameters)
    orders = made.epoch_orders(states, steps, len(dataset.train.labels))
    for first, last in ((0, 1), (1, steps))[:steps]:
        states, _ = made.train_steps(
            states,
            teacher,
            examples,
            orders,
            first * BATCH_SIZE,
            last - first,
            hyperparameters,
            BATCH_SIZE,
        )
    test = made.replicate(dataset.test)
    evaluated = made.evaluate([state.variables for state in states], test, 24)
    measured = (
        made.mean_metrics(tuple(state.metrics for state in states)),
        made.mean_metrics(evaluated),
    )
    return made.students(states), list(zip(*measured, strict=True))


@functools.cache
def alone(name, dtype=jnp.float64, seed=0, steps=STEPS):
    (student,), (measured,) = train(name, dtype=dtype, seed=seed, steps=steps)
    return student, measured


TRIALS = (
    scalars(PLAIN_KD, 0.001, probability=1.0, ascent_steps=2),
    scalars(PLAIN_KD | {"temperature": 2.0}, 0.1, probability=0.3, learning_rate=0.01),
)


def distance(one, two):
    """‖a − b‖ / ‖b‖ over a tree."""
    return optax.tree.norm(jax.tree.map(np.subtract, one, two)) / optax.tree.norm(two)


def assert_same(found, expected):
    """To 1e-9: parameters, running statistics and every metric."""
    (student, measured), (expected_student, expected_measured) = found, expected
    assert distance(student.params, expected_student.params) < 1e-9
    assert distance(student.batch_stats, expected_student.batch_stats) < 1e-9
    assert student.seed == expected_student.seed and student.step == STEPS
    for one, two in zip(measured, expected_measured, strict=True):
        assert one == pytest.approx(two, rel=1e-9, nan_ok=True)


def test_the_run_is_worth_comparing(x64):
    """Coins fall both ways, and the ascent raises the disagreement."""
    _, (metrics, evaluated) = alone("cifar100")
    assert 0.4 < metrics["augmented"] < 1
    assert metrics["disagreement_after"] > metrics["disagreement_before"] > 0
    assert evaluated["loss"] > 0


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        *(("cifar100", devices) for devices in (2, 8)),
        slow("cifar100", 4),
        *(slow("digits", devices) for devices in (2, 4, 8)),
    ],
)
def test_devices_do_not_change_the_numbers_in_float64(x64, name, devices):
    (student,), (measured,) = train(name, devices=devices)
    assert_same((student, measured), alone(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "devices"),
    [(name, devices) for name in ("cifar100", "digits") for devices in (2, 4, 8)],
)
def test_devices_hardly_change_the_numbers_in_float32(name, devices):
    """The ascent divides tiny gradients by an eps of their size: rounding grows."""
    dtype = jnp.float32
    (student,), _ = train(name, dtype=dtype, devices=devices, steps=1)
    assert distance(student.params, alone(name, dtype, steps=1)[0].params) < 1e-4
    _, ((found, _),) = train(name, dtype=dtype, devices=devices)
    _, (expected, _) = alone(name, dtype)
    for loss in ("loss", "loss_ce", "loss_kd"):
        assert found[loss] == pytest.approx(expected[loss], rel=0.05)


def test_statistics_of_a_device_s_own_would_show(x64):
    (student,), _ = train("cifar100", devices=2, statistics_axis=None)
    assert distance(student.params, alone("cifar100")[0].params) > 1e-3


def test_means_of_a_device_s_own_would_show(x64, monkeypatch):
    take_steps = ascent.take_steps

    def local(*arguments, **options):
        return take_steps(*arguments, **options | {"axis_name": None})

    monkeypatch.setattr(ascent, "take_steps", local)
    (student,), _ = train("cifar100", devices=2)
    assert distance(student.params, alone("cifar100")[0].params) > 1e-6


@pytest.mark.parametrize("composition", ["unrolled", slow("vmapped")])
def test_a_student_among_several_equals_itself_alone(x64, composition):
    students, measured = train("cifar100", students=2, composition=composition)
    for seed, found in enumerate(zip(students, measured, strict=True)):
        assert_same(found, alone("cifar100", seed=seed))
    assert distance(students[0].params, students[1].params) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("composition", ["unrolled", "vmapped"])
def test_students_of_other_hyperparameters_equal_themselves_alone(x64, composition):
    students, measured = train(
        "cifar100", students=2, composition=composition, hyperparameters=TRIALS
    )
    for seed, found in enumerate(zip(students, measured, strict=True)):
        (student,), (of_student,) = train(
            "cifar100", seed=seed, hyperparameters=TRIALS[seed : seed + 1]
        )
        assert_same(found, (student, of_student))


@pytest.mark.slow
@pytest.mark.parametrize("composition", ["unrolled", "vmapped"])
def test_students_on_devices_of_their_own_equal_themselves_alone(x64, composition):
    students, measured = train(
        "cifar100", students=4, devices=2, parallel="seeds", composition=composition
    )
    for seed, found in enumerate(zip(students, measured, strict=True)):
        assert_same(found, alone("cifar100", seed=seed))


def one_of_two_processes(address, process, parallel, file):
    """A process of the test below; the first writes the students to `file`."""
    from da_jax.training import processes

    processes.start_processes(address, 2, int(process))
    jax.config.update("jax_enable_x64", True)
    assert (jax.process_count(), jax.device_count()) == (2, 4)
    count = 4 if parallel == "seeds" else 1
    students, measured = train("cifar100", devices=4, students=count, parallel=parallel)
    assert processes.from_first_process([int(process)]) == [0]
    if processes.is_first_process():
        leaves = [jax.tree.leaves(student) for student in students]
        losses = [metrics["loss"] for metrics, _ in measured]
        np.savez(
            file,
            losses=losses,
            **{
                f"{seed}/{index}": leaf
                for seed, of_student in enumerate(leaves)
                for index, leaf in enumerate(of_student)
            },
        )


@pytest.mark.parametrize("parallel", ["batch", slow("seeds")])
def test_two_processes_of_two_devices(x64, tmp_path, parallel):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    program = "import sys; from tests.training import parallel_test as t;"
    program += "t.one_of_two_processes(*sys.argv[1:])"
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                program,
                address,
                str(process),
                parallel,
                str(tmp_path / "students.npz"),
            ],
            cwd=Path(__file__).parent.parent.parent,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    with np.load(tmp_path / "students.npz") as found:
        for seed in range(4 if parallel == "seeds" else 1):
            student, (metrics, _) = alone("cifar100", seed=seed)
            assert found["losses"][seed] == pytest.approx(metrics["loss"], rel=1e-9)
            expected = jax.tree.leaves(student)
            leaves = [found[f"{seed}/{index}"] for index in range(len(expected))]
            assert distance(leaves, expected) < 1e-9


def test_what_does_not_divide_is_refused():
    dataset = load("cifar100")

    def made(devices, students=1, parallel="batch"):
        axis_name = batch_axis(parallel)
        return PmappedSteps(
            create_task(dataset, jnp.float32, axis_name, axis_name),
            students,
            parallel,
            devices=jax.devices()[:devices],
        )

    with pytest.raises(UserError, match="batch_size=64 doesn't divide by the 3"):
        made(3).check_batch_size("config.batch_size", 64)
    with pytest.raises(UserError, match="5 seeds can't be put on 2 devices"):
        made(2, students=5, parallel="seeds")
    made(2, students=4, parallel="seeds").check_batch_size("config.batch_size", 63)
