"""The schedule and the optimiser: PyTorch's SGD with steps down."""

import jax
import jax.numpy as jnp
import optax


def step_decay(
    step: jax.typing.ArrayLike,
    learning_rate: jax.typing.ArrayLike,
    decay_rate: jax.typing.ArrayLike,
    decay_steps: jax.typing.ArrayLike,
) -> jax.Array:
    """The learning rate at `step`: times `decay_rate` for each mark that is behind.

    Args:
      step: how many steps were taken.
      learning_rate: at the start.
      decay_rate: the factor at each mark.
      decay_steps: int `[marks]`; the first step with the lower rate. A mark at the end
        of epoch n (counted from 1) is step n × steps_per_epoch.
    """
    marks_behind = jnp.sum(jnp.asarray(step) >= jnp.asarray(decay_steps))
    return jnp.asarray(learning_rate) * jnp.power(decay_rate, marks_behind)


def sgd(
    learning_rate: jax.typing.ArrayLike,
    momentum: jax.typing.ArrayLike,
    weight_decay: jax.typing.ArrayLike,
) -> optax.GradientTransformation:
    """`torch.optim.SGD`: weight decay joins the gradient before the momentum.

    It decays every parameter, biases and batch norm included, as the original does.
    The arguments may be traced; the state doesn't depend on them.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.sgd(learning_rate, momentum),
    )
