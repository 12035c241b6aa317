"""Stage 1: what the device is, and whether it computes what a CPU does."""

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

from configs import default, digits
from da_jax.config.build import create_hyperparameters, create_problem
from da_jax.storage.digests import digests
from da_jax.storage.run_checkpoints import (
    RunCheckpoint,
    RunCheckpoints,
    from_tree,
    to_tree,
)
from da_jax.training.parallel import Programs
from da_jax.training.run import Run, epoch_batches, load_data, load_teacher, set_up
from da_jax.training.state import TrainState
from tests import golden
from tests.training.step_test import TRAJECTORIES, running_and_params, trajectory

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch")


def device() -> dict[str, Any]:
    """The device, its driver and the versions of what runs on it."""
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
    """The losses of the first steps on digits, here and on this machine's CPU.

    Args:
      steps: how many.
      teacher: the folder of the digits' teacher.
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
    programs = Programs(create_problem(config, data), devices=devices)
    states = programs.create_train_states(config.seed)
    orders = programs.epoch_orders(states, len(batches), len(data.train.labels))
    numbers = create_hyperparameters(config, len(batches))
    constants = (
        programs.replicate(load_teacher(config, data)),
        programs.replicate(data.train),
        orders,
    )
    sums = [0.0]  # the state's metrics are summed since the epoch's start
    for position, size in batches[:steps]:
        states, _ = programs.train_steps(
            states,
            *constants,
            position,
            1,
            programs.replicate_students([numbers]),
            size,
        )
        (student,) = programs.students(states)
        sums.append(float(student.metrics["loss"].total) / config.batch_size)
    return [after - before for before, after in itertools.pairwise(sums)]


def golden_vectors(kind: str) -> dict[str, Any]:
    """Errors against the original's float64 steps, here and on this machine's CPU.

    Args:
      kind: of `tests.training.step_test.TRAJECTORIES`; networks compute in float32.
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
    """Whether two runs, and one that was resumed, have the same bits."""
    config = default.create(student, [teacher], "")
    config.data_dir = data_dir
    config.batch_size = batch_size or config.batch_size
    run = set_up(config, Path())
    first, second = (_train(run, [0, steps]) for _ in range(2))
    resumed = _train(run, [0, steps // 2, steps])
    return {
        "steps": steps,
        "arrays": len(first),
        "two_runs_differ_in": _differing(first, second),
        "a_resumed_run_differs_in": _differing(first, resumed),
    }


def _train(run: Run, marks: list[int]) -> dict[str, str]:
    """The digests of a student at `marks[-1]` steps, saved and read at the others."""
    programs = run.programs
    states = programs.create_train_states(0)
    orders = programs.epoch_orders(
        states, len(run.batches), len(run.dataset.train.labels)
    )
    for first, last in itertools.pairwise(marks):
        if first:
            (student,) = programs.students(states)
            states = programs.replicate_students([_through_a_checkpoint(student)])
        states, _ = programs.train_steps(
            states,
            run.replicated_teacher,
            run.train,
            orders,
            first * run.config.batch_size,
            last - first,
            run.replicated_hyperparameters,
            run.config.batch_size,
        )
    (student,) = programs.students(states)
    return digests(to_tree(student))


def _through_a_checkpoint(student: TrainState) -> TrainState:
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = RunCheckpoints(Path(folder))
        tree = to_tree(student)
        checkpoints.save(RunCheckpoint("student", 100, [tree], [tree], 0, []))
        checkpoints.close()
        restored = RunCheckpoints(Path(folder)).restore()
    assert restored is not None, "it was saved"
    state: TrainState = from_tree(student, restored.students[0])
    return state


def _differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [path for path in one if one[path] != other[path]]
