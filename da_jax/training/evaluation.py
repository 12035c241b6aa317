"""The accuracy of a trained network on a whole test set."""

import flax.linen as nn

from da_jax.data import Dataset
from da_jax.methods import create_method
from da_jax.models.forward import Variables
from da_jax.training.parallel import AXIS_NAME, PmappedSteps
from da_jax.training.state import Task

BATCH_SIZE = 500
"""Images of a batch on each device, at most."""


def evaluate_network(
    network: nn.Module, variables: Variables, data: Dataset
) -> dict[str, float]:
    """Computes top-1 and top-5 accuracy, as fractions, and the mean cross-entropy.

    Args:
      network: a classifier of the data set's classes.
      variables: its `params` and `batch_stats`, on the host.
      data: its whole test set is used, on all devices.
    """
    task = Task(
        student=network,
        teacher=None,
        method=create_method("vanilla"),
        preprocessing=data.preprocessing,
        axis_name=AXIS_NAME,
    )
    steps = PmappedSteps(task)
    share = -(-len(data.test.labels) // steps.num_devices)
    sums = steps.evaluate(
        [steps.replicate(variables)],
        steps.replicate(data.test),
        min(share, BATCH_SIZE) * steps.num_devices,
    )
    (metrics,) = steps.mean_metrics(sums)
    return metrics
