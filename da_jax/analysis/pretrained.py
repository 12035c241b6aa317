"""Trained networks, loaded from disk."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax

from da_jax.errors import UserError
from da_jax.methods import Outputs
from da_jax.models import create_model
from da_jax.models.forward import Variables, eval_mode
from da_jax.storage.model_folders import load_model


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A network with its weights, in eval mode.

    Attributes:
      folder: the folder that it was loaded from.
      model: its architecture, as `da_jax.models.create_model` knows it.
      num_classes: K.
      network: its module, for float32 images.
      variables: its `params` and `batch_stats`, on the host.
    """

    folder: Path
    model: str
    num_classes: int
    network: nn.Module
    variables: Variables

    def __call__(self, images: jax.Array) -> Outputs:
        """Returns the logits and features for normalised images `[B, 32, 32, 3]`."""
        return eval_mode(self.network, self.variables, images)

    def check_fits(self, dataset: str, num_classes: int) -> None:
        """Checks that a data set has as many classes as the network.

        Raises:
          UserError: it has another number.
        """
        if self.num_classes != num_classes:
            raise UserError(
                f"{self.folder} holds a {self.model} of {self.num_classes} classes, but"
                f" {dataset} has {num_classes}"
            )


def load_pretrained(folder: Path, *, last: bool = False) -> Pretrained:
    """Loads the network in a model folder, or the student in a run folder.

    Args:
      folder: of the model or the run.
      last: load a run's student of the last epoch, not of the best.

    Raises:
      UserError: it is missing or damaged, or of an unknown architecture.
    """
    loaded = load_model(folder, last=last)
    network = create_model(loaded.name, loaded.num_classes)
    return Pretrained(
        folder, loaded.name, loaded.num_classes, network, loaded.variables
    )
