"""The fields of every config: defaults (the original's), ranges, descriptions.

The sections of methods and augmentations come from what their classes declare.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from da_jax import declarations
from da_jax.augmentations import AUGMENTATIONS
from da_jax.data import DATASETS
from da_jax.declarations import (
    AT_LEAST_ONE,
    BELOW_ONE,
    BOOLEAN,
    NOT_NEGATIVE,
    POSITIVE,
    Declaration,
    Names,
    Range,
)
from da_jax.methods import METHODS
from da_jax.models import MODELS, is_model
from da_jax.models.network import PRECISIONS
from da_jax.training.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    OptimizerHyperparameters,
)
from da_jax.training.parallel import PARALLEL
from da_jax.training.weights_and_biases import MODES


def or_zero(meaning: str) -> Range:
    """Returns the range of a count whose 0 has another meaning."""
    return Range(lambda value: value >= 0, f"at least 0 (0: {meaning})")


TEXT = Range(lambda value: isinstance(value, str), "text")
MODULES = Range(
    lambda value: not isinstance(value, str) and all(isinstance(v, str) for v in value),
    "a tuple of names",
)
SEED = Range(lambda value: 0 <= value < 2**32, "from 0 to 2**32 - 1")
AT_LEAST_TWO = Range(lambda value: value >= 2, "at least 2")
DECAY_RATE = Range(lambda value: 0 < value <= 1, "above 0, at most 1")
EPOCHS = Range(
    lambda value: list(value) == sorted(set(value)) and min(value, default=1) >= 1,
    "epochs from 1 on, each later than the one before",
)

FIELDS: dict[str, Declaration] = {
    "name": Declaration("", TEXT, "of the default folder, runs/NAME"),
    "imports": Declaration((), MODULES, "modules that define what isn't bundled"),
    "seed": Declaration(0, SEED, "of the first student"),
    "num_seeds": Declaration(
        1, AT_LEAST_ONE, "students side by side, of seeds from seed on"
    ),
    "parallel": Declaration(
        "batch",
        Names("split over the devices", PARALLEL),
        "what is spread over several devices",
    ),
    "dataset": Declaration("cifar100", Names("dataset", DATASETS), "data set"),
    "data_dir": Declaration(
        "", TEXT, "the folder of prepared data sets; empty for TFDS's default"
    ),
    "train_size": Declaration(0, or_zero("all"), "how many training examples are used"),
    "train_seed": Declaration(0, SEED, "selects which ones"),
    "validation_size": Declaration(
        0, NOT_NEGATIVE, "how many of them are held out to choose the best epoch"
    ),
    "validation_seed": Declaration(0, SEED, "selects which ones"),
    "student": Declaration("", Names("model", MODELS), "the student's architecture"),
    "init_checkpoint": Declaration(
        "", TEXT, "the folder of a model or a run whose weights the student starts from"
    ),
    "teacher.model": Declaration(
        "",
        Names("model", MODELS, optional=True, is_name=is_model),
        "the teacher's architecture",
    ),
    "teacher.checkpoint": Declaration(
        "", TEXT, "the folder of a converted model, or of a run"
    ),
    "method": Declaration("KD", Names("method", METHODS), "distillation method"),
    "use_labels": Declaration(
        True, BOOLEAN, "False drops the cross-entropy of distillation"
    ),
    "label_smoothing": Declaration(0.0, BELOW_ONE, "of the cross-entropy's labels"),
    "augmentation": Declaration(
        "disagreement", Names("augmentation", AUGMENTATIONS), "augmentation"
    ),
    "precision": Declaration(
        "tensorfloat32", Names("precision", PRECISIONS), "of both networks"
    ),
    "num_epochs": Declaration(240, AT_LEAST_ONE, "epochs"),
    "ema_decay": Declaration(
        0.0, BELOW_ONE, "of the moving average that is evaluated (0: no average)"
    ),
    "batch_size": Declaration(
        64, AT_LEAST_TWO, "of a student, over all devices; part of the algorithm"
    ),
    "drop_remainder": Declaration(
        True, BOOLEAN, "whether an epoch's last, short batch is dropped"
    ),
    "eval_batch_size": Declaration(500, AT_LEAST_ONE, "over all devices"),
    "eval_every": Declaration(
        1,
        AT_LEAST_ONE,
        "epochs between evaluations; the last epoch is always evaluated",
    ),
    "checkpoint_every": Declaration(1, AT_LEAST_ONE, "epochs between checkpoints"),
    "steps_per_call": Declaration(
        0, or_zero("automatic"), "training steps of a program"
    ),
    "profile_steps": Declaration(
        0, or_zero("no trace"), "of the second epoch, traced into WORKDIR/profile"
    ),
    "gallery_every": Declaration(
        0,
        or_zero("never"),
        "epochs between galleries of test images on their ascent, for TensorBoard",
    ),
    "wandb.mode": Declaration(
        "",
        Names("mode", MODES, optional=True),
        "Weights & Biases, with the extra wandb",
    ),
    "wandb.project": Declaration("da-jax", TEXT, "its project"),
    "optimizer.name": Declaration("sgd", Names("optimizer", OPTIMIZERS), "optimizer"),
    "optimizer.dot_delta": Declaration(
        0.075, BELOW_ONE, "by how much dot's two momenta differ from momentum"
    ),
    "optimizer.learning_rate": Declaration(
        0.05, POSITIVE, "the learning rate after the warm-up"
    ),
    "optimizer.momentum": Declaration(
        0.9, BELOW_ONE, "of sgd and dot; b1 of adamw, lion and lamb"
    ),
    "optimizer.weight_decay": Declaration(
        5e-4, NOT_NEGATIVE, "of sgd and dot, added to the gradient; else decoupled"
    ),
    "optimizer.decay_bias_and_norm": Declaration(
        True, BOOLEAN, "whether weight_decay includes biases and batch norm"
    ),
    "optimizer.clip_norm": Declaration(
        0.0, NOT_NEGATIVE, "largest global norm of the gradient (0: no limit)"
    ),
    "optimizer.schedule": Declaration(
        "step", Names("schedule", SCHEDULES), "of the learning rate, after the warm-up"
    ),
    "optimizer.warmup_epochs": Declaration(
        0.0, NOT_NEGATIVE, "of a linear rise of the learning rate from 0"
    ),
    "optimizer.decay_epochs": Declaration(
        (150, 180, 210), EPOCHS, "of schedule step: after them, the rate decays"
    ),
    "optimizer.decay_rate": Declaration(
        0.1, DECAY_RATE, "of schedule step: the factor of a decay"
    ),
}
"""The fields of all runs, by dotted name."""


def sections(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the config section of each class that declares fields, by name."""
    made = {name: declarations.section(cls) for name, cls in table.items()}
    return {
        name: fields
        for name, fields in made.items()
        if fields and config_section(table, name) == name
    }


def config_section(table: dict[str, Any], name: str) -> str:
    """Returns the name of a class's config section: its own, or one that it shares."""
    return str(getattr(table[name], "config_section", name))


class Row(NamedTuple):
    """A field as help and documentation show it."""

    field: str
    default: str
    range: str
    kind: str
    help: str


def rows() -> Iterator[Row]:
    """Yields a row for every field: the general ones, then each section's."""
    of_optimizer = [
        f"optimizer.{name.replace('steps', 'epochs')}"
        for name in OptimizerHyperparameters._fields
    ]
    traced = {*of_optimizer, "label_smoothing", "ema_decay"}
    for field, declared in FIELDS.items():
        yield _row(field, declared, field in traced)
    for table in (METHODS, AUGMENTATIONS):
        for name in sections(table):
            hyperparameters = declarations.hyperparameters(table[name])
            for field, declared in declarations.declarations(table[name]).items():
                yield _row(f"{name}.{field}", declared, field in hyperparameters)


def _row(field: str, declared: Declaration, is_traced: bool) -> Row:
    kind = "traced" if is_traced else "static"
    range = declared.range.description
    return Row(field, repr(declared.default), range, kind, declared.help)
