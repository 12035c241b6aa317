"""Stage 1: the device, and its results compared with a CPU's and the original's."""

import importlib.metadata
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from da_jax.configs import default, digits

from da_jax.config.build import (
    build_run,
    create_hyperparameters,
    create_task,
    load_data,
    load_teacher,
)
from da_jax.storage.digests import digests
from da_jax.storage.run_checkpoints import (
    RunCheckpoint,
    RunCheckpoints,
    from_tree,
    to_tree,
)
from da_jax.training.parallel import PmappedSteps
from da_jax.training.run import Run, epoch_batches
from da_jax.training.state import TrainState
from tests import golden
from tests.training.step_test import TRAJECTORIES, running_and_params, trajectory

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch")


def device() -> dict[str, Any]:
    """Describes the device, its driver and the versions of the packages."""
    found = jax.devices()
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    return {
        "platform": found[0].platform,
        "kind": found[0].device_kind,
        "count": len(found),
        "runtime": found[0].client.platform_version.splitlines(),
        "memory": (found[0].memory_stats() or {}).get("bytes_limit"),
        "driver": _nvidia_smi(),
        "versions": versions,
        "environment": {
            name: os.environ.get(name) for name in ("JAX_PLATFORMS", "XLA_FLAGS")
        },
    }


def _nvidia_smi() -> str | None:
    if not shutil.which("nvidia-smi"):
        return None
    query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit"
    return subprocess.run(
        ["nvidia-smi", query, "--format=csv,noheader"], capture_output=True, text=True
    ).stdout.strip()


def first_steps_of_digits(steps: int, teacher: str) -> dict[str, Any]:
    """Compares the losses of the first steps on digits with this machine's CPU.

    Args:
      steps: number of steps.
      teacher: folder of the digits' teacher.
    """
    here, cpu = (
        _losses_on_digits(steps, teacher, [devices[0]])
        for devices in (jax.devices(), jax.devices("cpu"))
    )
    return {
        "losses": here,
        "losses_on_cpu": cpu,
        "largest_relative_error": max(
            abs(one - two) / abs(two) for one, two in zip(here, cpu, strict=True)
        ),
    }


def _losses_on_digits(
    steps: int, teacher: str, devices: list[jax.Device]
) -> list[float]:
    config = digits.get_config()
    config.precision = "float32"
    config.teacher.checkpoint = teacher
    data = load_data(config)
    batches = epoch_batches(len(data.train.labels), config.batch_size, True)
    pmapped = PmappedSteps(create_task(config, data), devices=devices)
    hyperparameters = create_hyperparameters(config, len(batches))
    states = pmapped.create_train_states(config.seed, hyperparameters)
    constants = (
        pmapped.replicate(load_teacher(config, data)),
        pmapped.replicate(data.train),
        pmapped.epoch_orders(states, len(batches), len(data.train.labels)),
    )
    scalars = pmapped.replicate_students([hyperparameters])
    sums = [0.0]  # the state has the epoch's sum so far
    for position, size in batches[:steps]:
        states, _ = pmapped.train_steps(states, *constants, position, 1, scalars, size)
        (student,) = pmapped.students(states)
        sums.append(float(student.metrics["loss"].total) / config.batch_size)
    return [after - before for before, after in itertools.pairwise(sums)]


def golden_vectors(kind: str) -> dict[str, Any]:
    """Measures errors against the original's float64 steps, here and on the CPU.

    Networks compute in float32.

    Args:
      kind: a key of `tests.training.step_test.TRAJECTORIES`.
    """
    return {
        "device": _golden_errors(kind, jax.devices()[0]),
        "cpu": _golden_errors(kind, jax.devices("cpu")[0]),
    }


def _golden_errors(kind: str, device: jax.Device) -> dict[str, float]:
    ascent_steps, steps = TRAJECTORIES[kind]
    description, arrays = golden.load("training")
    image_errors, loss_errors, norm_errors, shares = [0.0], [], [], [1.0]
    with jax.default_device(device):
        trained = list(trajectory(kind, jnp.float32, steps))
    for index, (state, moved, metrics) in enumerate(trained):
        expected = description[kind]["steps"][index]
        if ascent_steps:
            name = f"{kind}/step{index}/student_input{ascent_steps}"
            error = np.abs(np.asarray(moved) - arrays[name])
            image_errors.append(float(error.max()))
            shares.append(float(np.mean(error < 1e-3)))
        for name, loss in expected["losses"].items():
            loss_errors.append(abs(float(metrics[name].compute()) / loss - 1))
        leaves = running_and_params(state)
        for key, norm in expected["param_norm"].items():
            norm_errors.append(abs(float(np.linalg.norm(leaves[key])) / norm - 1))
    return {
        "largest_error_of_moved_images": max(image_errors),
        "share_within_1e-3": min(shares),
        "largest_relative_error_of_losses": max(loss_errors),
        "largest_relative_error_of_parameter_norms": max(norm_errors),
    }


def deterministic(
    teacher: str, student: str, steps: int, batch_size: int, data_dir: str
) -> dict[str, Any]:
    """Compares the bits of two equal runs, and of one that was resumed."""
    config = default.create(student, [teacher], "")
    config.data_dir = data_dir
    config.batch_size = batch_size or config.batch_size
    data = load_data(config)
    run = build_run(config, Path(), data, load_teacher(config, data))
    first, second = (_train(run, [0, steps]) for _ in range(2))
    resumed = _train(run, [0, steps // 2, steps])
    return {
        "steps": steps,
        "arrays": len(first),
        "two_runs_differ_in": _differing(first, second),
        "a_resumed_run_differs_in": _differing(first, resumed),
    }


def _train(run: Run, marks: list[int]) -> dict[str, str]:
    """Trains to `marks[-1]` steps, resumes at the others, and returns digests."""
    states = run.steps.create_train_states(0, run.hyperparameters)
    orders = run.steps.epoch_orders(
        states, len(run.batches), len(run.dataset.train.labels)
    )
    _, batch_size = run.batches[0]
    for first, last in itertools.pairwise(marks):
        if first:
            (student,) = run.steps.students(states)
            states = run.steps.replicate_students([_through_a_checkpoint(student)])
        states, _ = run.steps.train_steps(
            states,
            run.replicated_teacher,
            run.train,
            orders,
            first * batch_size,
            last - first,
            run.replicated_hyperparameters,
            batch_size,
        )
    (student,) = run.steps.students(states)
    return digests(to_tree(student))


def _through_a_checkpoint(student: TrainState) -> TrainState:
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = RunCheckpoints(Path(folder))
        tree = to_tree(student)
        checkpoints.save(RunCheckpoint("student", 100, [tree], [tree], 0, []))
        checkpoints.close()
        restored = RunCheckpoints(Path(folder)).restore()
    assert restored is not None, "a checkpoint was saved"
    state: TrainState = from_tree(student, restored.students[0])
    return state


def _differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [path for path in one if one[path] != other[path]]
