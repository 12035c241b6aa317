"""Five float64 training steps of everything: `python -m tests.reference` writes them.

`reference.json` was written before the trainer was rebuilt; `reference_test.py` holds
every later version to it. It isn't to be written again unless the numbers are meant to
change, which the commit then says.
"""

import dataclasses
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from da_jax.configs import digits

from da_jax.config.build import (
    create_hyperparameters,
    create_task,
    load_data,
    load_teacher,
    split_data,
)
from da_jax.methods import METHODS
from da_jax.models.network import PRECISIONS
from da_jax.training.parallel import PmappedSteps

FILE = Path(__file__).parent / "reference.json"
STEPS, BATCH_SIZE = 5, 8

CASES = {
    **{f"{method}, none": {"method": method} for method in sorted(METHODS)},
    **{
        f"{method}, disagreement": {
            "method": method,
            "augmentation": "disagreement",
        }
        for method in sorted(METHODS)
        if method != "vanilla"
    },
    **{
        f"KD, {augmentation}": {"augmentation": augmentation}
        for augmentation in ("fgsm", "noise", "pgd")
    },
    "KL ascent on a frozen copy": {
        "augmentation": "disagreement",
        "disagreement.divergence": "kl",
        "disagreement.update_batch_stats": False,
        "disagreement.reduce_on_plateau": False,
        "disagreement.logit_standardization": True,
        "disagreement.steps": 2,
        "KD.logit_standardization": True,
    },
    "random start": {
        "augmentation": "disagreement",
        "disagreement.random_init": True,
    },
    "reference batch": {
        "augmentation": "disagreement",
        "disagreement.reference_batch": 64,
        "disagreement.steps": 3,
    },
    "without labels": {"use_labels": False},
    "two seeds": {"augmentation": "disagreement", "num_seeds": 2},
    "two devices": {"augmentation": "disagreement", "devices": 2},
    "two devices, a seed each": {
        "augmentation": "disagreement",
        "num_seeds": 2,
        "parallel": "seeds",
        "devices": 2,
    },
    "DOT": {"augmentation": "disagreement", "optimizer.name": "dot"},
    "held out": {"augmentation": "disagreement", "validation_size": 200},
    "adaptive": {"augmentation": "disagreement", "disagreement.target": 0.3},
}
"""By name, the config fields that differ from plain KD, and how many devices."""


def create_config(fields):
    config = digits.get_config("kd")
    config.precision = "float64"
    for name, value in fields.items():
        *sections, field = name.split(".")
        section = config
        for each in sections:
            section = section[each]
        if name != "devices":
            section[field] = value
    if config.method == "vanilla":
        config.teacher.model = ""
    return config


def eigh_of_fixed_signs(matrix, eigh=jnp.linalg.eigh):
    """Fixes the signs that LAPACK leaves open, as KDSVD's loss depends on them."""
    values, vectors = eigh(matrix)
    total = jnp.sum(vectors, axis=-2, keepdims=True)
    return values, vectors * jnp.where(total < 0, -1, 1)


def five_steps(fields):
    """What each student's steps, parameters and evaluation are, as numbers.

    Under `jax.enable_x64`, with a precision float64 among PRECISIONS and
    `eigh_of_fixed_signs` in place of `jnp.linalg.eigh`.
    """
    config = create_config(fields)
    data = load_data(config)
    teacher = load_teacher(config, data)
    data, eval_examples, _ = split_data(config, data)
    task = dataclasses.replace(create_task(config, data), dtype=jnp.float64)
    made = PmappedSteps(
        task,
        config.num_seeds,
        config.parallel,
        devices=jax.devices()[: fields.get("devices", 1)],
    )
    steps_per_epoch = len(data.train.labels) // BATCH_SIZE
    hyperparameters = create_hyperparameters(config, steps_per_epoch)
    states = made.create_train_states(config.seed, hyperparameters)
    orders = made.epoch_orders(states, steps_per_epoch, len(data.train.labels))
    fixed = made.replicate(teacher), made.replicate(data.train), orders
    scalars = made.replicate_students([hyperparameters] * config.num_seeds)
    taken = [[] for _ in range(config.num_seeds)]
    for step in range(STEPS):
        position = step * BATCH_SIZE
        states, _ = made.train_steps(states, *fixed, position, 1, scalars, BATCH_SIZE)
        for sums, student in zip(taken, made.students(states), strict=True):
            sums.append(
                {
                    name: [float(metric.total), int(metric.count)]
                    for name, metric in sorted(student.metrics.items())
                }
            )
    networks = [state.variables for state in states]
    evaluated = made.evaluate(networks, made.replicate(eval_examples), 200)
    return [
        {
            "sums": sums,
            "params": measured(student.params),
            "batch_stats": measured(student.batch_stats),
            "auxiliary": measured(student.auxiliary),
            "ascent_scale": float(student.ascent_scale),
            "evaluated": metrics,
        }
        for sums, student, metrics in zip(
            taken, made.students(states), made.mean_metrics(evaluated), strict=True
        )
    ]


def measured(tree):
    """A tree's norm, and its product with fixed numbers, which sees signs and order."""
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)]
    vector = np.concatenate([np.zeros(0), *leaves])
    signs = np.cos(np.arange(len(vector)))
    return [float(np.linalg.norm(vector)), float(vector @ signs)]


FLOAT64 = {"dtype": jnp.float64, "precision": "highest"}


def main():
    PRECISIONS["float64"] = FLOAT64
    jnp.linalg.eigh = eigh_of_fixed_signs
    with jax.enable_x64(True):
        reference = {}
        for name, fields in CASES.items():
            reference[name] = five_steps(fields)
            jax.clear_caches()
            print(name, flush=True)
    lines = [
        f"{json.dumps(name)}: {json.dumps(found)}" for name, found in reference.items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    assert "device_count" in os.environ["XLA_FLAGS"], "two CPU devices are needed"
    main()
