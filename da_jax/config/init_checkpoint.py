"""Fine-tuning: the weights that a student starts from, out of `init_checkpoint`."""

from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from da_jax.errors import UserError
from da_jax.models import forward
from da_jax.models.forward import Variables
from da_jax.storage.model_folders import Model, load_model
from da_jax.training.state import Task

MOST_NAMES = 3
"""The largest number of arrays that a message names for each reason."""


def load_init_checkpoint(
    config: ConfigDict, task: Task, num_classes: int
) -> Variables | None:
    """Loads the weights of the config's `init_checkpoint`; None if it has none.

    A classifier for another number of classes is left out.

    Args:
      config: a checked config.
      task: its task.
      num_classes: of its data set.

    Raises:
      UserError: the folder is missing or damaged, or holds another architecture or
        arrays that don't fit the student's.
    """
    if not config.init_checkpoint:
        return None
    folder = Path(config.init_checkpoint)
    model = load_model(folder)
    if model.name != config.student:
        raise UserError(
            f"config.init_checkpoint {folder} holds a {model.name}, but config.student"
            f" is {config.student}"
        )
    images = jnp.zeros((1, *task.image_shape), task.dtype)
    initialized = jax.eval_shape(
        lambda: forward.initialize(task.student, jax.random.key(0), images)
    )
    return fitting_variables(folder, model, initialized, num_classes)


def fitting_variables(
    folder: Path, model: Model, initialized: Variables, num_classes: int
) -> Variables:
    """Returns a model's variables without its classifier, if the new one is another.

    The classifier's arrays are those whose last axis has a value for each class.

    Args:
      folder: the model's, for the message.
      model: the model.
      initialized: shapes of the student's variables.
      num_classes: of the student.

    Raises:
      UserError: other arrays are missing, are extra or have another shape.
    """
    found = flax.traverse_util.flatten_dict(model.variables, sep="/")
    expected = flax.traverse_util.flatten_dict(initialized, sep="/")

    def is_new(name: str) -> bool:
        there, here = np.shape(found[name]), expected[name].shape
        of_classes = (*there[:-1], num_classes)
        return there != here == of_classes and there[-1:] == (model.num_classes,)

    shared = found.keys() & expected.keys()
    new = {name for name in shared if is_new(name)}
    reshaped = [
        f"{name} {list(np.shape(found[name]))} instead of {list(expected[name].shape)}"
        for name in sorted(shared - new)
        if np.shape(found[name]) != expected[name].shape
    ]
    problems = {
        "lacks": sorted(expected.keys() - found.keys()),
        "has the extra": sorted(found.keys() - expected.keys()),
        "has": reshaped,
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{verb} {_shortened(names)}" for verb, names in problems.items() if names
        )
        raise UserError(
            f"config.init_checkpoint {folder} doesn't fit {model.name}: it {listed}"
        )
    kept = {name: found[name] for name in shared - new}
    variables: Variables = flax.traverse_util.unflatten_dict(kept, sep="/")
    return variables


def _shortened(names: list[str]) -> str:
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return ", ".join(names[:MOST_NAMES] + more)
