"""A trained network from disk, as a function of images."""

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
      folder: where it comes from.
      model: its architecture, a key of `da_jax.models.MODELS`.
      num_classes: the width of its logits.
      network: its module, for images of float32.
      variables: its `params` and `batch_stats`, on the host.
    """

    folder: Path
    model: str
    num_classes: int
    network: nn.Module
    variables: Variables

    def __call__(self, images: jax.Array) -> Outputs:
        """Logits `[B, K]` and features of normalised images `[B, 32, 32, 3]`."""
        return eval_mode(self.network, self.variables, images)

    def check_fits(self, dataset: str, num_classes: int) -> None:
        """Refuses a data set of another number of classes.

        Raises:
          UserError: says of how many classes each is.
        """
        if self.num_classes != num_classes:
            raise UserError(
                f"{self.folder} holds a {self.model} of {self.num_classes} classes, but"
                f" {dataset} has {num_classes}"
            )


def load_pretrained(folder: Path, *, last: bool = False) -> Pretrained:
    """The network in a model folder, or the student of a run folder.

    Args:
      folder: of the model or the run.
      last: of a run, the student of the last epoch rather than of its best.

    Raises:
      UserError: it is missing or damaged, or of an unknown architecture.
    """
    loaded = load_model(folder, last=last)
    network = create_model(loaded.name, loaded.num_classes)
    return Pretrained(
        folder, loaded.name, loaded.num_classes, network, loaded.variables
    )
