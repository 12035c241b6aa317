"""Contrastive Representation Distillation: both networks embed an image alike.

Both networks' pooled features are embedded on the unit sphere. The inner products v of
an image's embedding by one network are with remembered embeddings by the other: its own
(0) and those of K images of other classes. With h(v) = e^(v / τ) / Z, N training
images and P = K / N:

  L = w_ce · CE(S, y) + w_feat · Σ_both −(log h₀ / (h₀ + P) + Σ_k log P / (h_k + P))

The first batch determines Z. The memories are moving averages of the embeddings.

References:
  Tian et al., Contrastive Representation Distillation, ICLR 2020.
  mdistiller, mdistiller/distillers/CRD.py and dataset/cifar100.py.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.declarations import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    Declaration,
    setting,
)
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.methods.vectors import l2_normalize
from da_jax.models.layers import Linear, parameter_dtype

EPSILON = 1e-7

ROLES = ("student", "teacher")


def contrastive_loss(scores: jax.Array, num_examples: int) -> jax.Array:
    """Computes the loss of h `[B, 1 + K]`, the image's own first, a scalar."""
    noise = (scores.shape[1] - 1) / num_examples
    log_own = jnp.log(scores[:, 0] / (scores[:, 0] + noise + EPSILON))
    log_others = jnp.log(noise / (scores[:, 1:] + noise + EPSILON))
    return -(jnp.sum(log_own) + jnp.sum(log_others)) / len(scores)


def sample_others(
    key: jax.Array, label: jax.Array, train_labels: jax.Array, count: int
) -> jax.Array:
    """Samples examples of other classes than `label`.

    Without replacement, as the original, if `count` is at most half of the examples;
    else with replacement.

    Args:
      key: the random key.
      label: the class to avoid, a scalar.
      train_labels: int `[N]`.
      count: number of samples.

    Returns:
      Indices `[count]` of `train_labels`.
    """
    is_other = train_labels != label
    if 2 * count <= len(train_labels):
        rank = jnp.where(is_other, jax.random.uniform(key, is_other.shape), -1.0)
        return jax.lax.top_k(rank, count)[1]
    others = jnp.argsort(~is_other)  # stable: those of other classes come first
    num_others = jnp.maximum(jnp.sum(is_other), 1)
    return others[jax.random.randint(key, (count,), 0, num_others)]


class CRD(Method):
    """Contrastive Representation Distillation."""

    features: ClassVar = ("pooled_feat",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(0.8, NOT_NEGATIVE, "weight of the contrastive loss"),
        "temperature": Declaration(0.07, POSITIVE, "temperature of the scores"),
        "momentum": Declaration(0.5, NOT_NEGATIVE, "momentum of the memories"),
    }

    width: int = setting(128, AT_LEAST_ONE, "width of the embeddings")
    num_others: int = setting(16384, AT_LEAST_ONE, "contrasted images per example")

    @nn.compact
    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`."""
        embeddings = {
            role: self._embed(outputs.features["pooled_feat"], f"embed_{role}")
            for role, outputs in zip(
                ROLES, (inputs.student, inputs.teacher), strict=True
            )
        }
        num_examples = len(inputs.train_labels)
        memories = {role: self._memory(role, num_examples) for role in ROLES}
        contrasted = self.contrasted(inputs)
        losses = []
        for role, other in zip(ROLES, reversed(ROLES), strict=True):
            # All products are cheaper than gathering [B, K, width]: [B, N] is small.
            products = jnp.matmul(
                embeddings[role], memories[other].value.T, precision=self.precision
            )
            products = jnp.take_along_axis(products, contrasted, axis=1)
            scores = jnp.exp(products / weights["temperature"])
            scores /= self._normalizer(role, scores, num_examples)
            losses.append(contrastive_loss(scores, num_examples))
        if not self.is_initializing():
            for role in ROLES:
                self._update(memories[role], embeddings[role], inputs, weights)
        return {"loss_kd": (losses[0] + losses[1]) * weights["feat_weight"]}

    def contrasted(self, inputs: MethodInputs) -> jax.Array:
        """Samples indices `[B, 1 + K]`: each image's own, then other classes'."""
        count = len(inputs.labels)
        if self.axis_name is not None:
            count *= jax.lax.axis_size(self.axis_name)
        keys = self.device_share(jax.random.split(self.make_rng("method"), count))
        others = jax.vmap(sample_others, (0, 0, None, None))(
            keys, inputs.labels, inputs.train_labels, self.num_others
        )
        return jnp.concatenate([inputs.indices[:, None], others], axis=1)

    def _embed(self, features: jax.Array, name: str) -> jax.Array:
        linear = Linear(self.width, self.dtype, self.precision, name=name)
        return l2_normalize(linear(features))

    def _memory(self, role: str, num_examples: int) -> nn.Variable:
        """Creates a memory `[N, width]` of rows of about unit norm, as the original."""
        bound = (3 / self.width) ** 0.5

        def init() -> jax.Array:
            shape, dtype = (num_examples, self.width), parameter_dtype(self.dtype)
            key = self.make_rng("params")
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        return self.variable("memory", role, init)

    def _normalizer(self, role: str, scores: jax.Array, num_examples: int) -> jax.Array:
        """Returns Z, which the first batch's scores determine."""
        normalizer = self.variable(
            "memory", f"normalizer_{role}", jnp.zeros, (), scores.dtype
        )
        mean = jax.lax.stop_gradient(jnp.mean(scores))
        if self.axis_name is not None:
            mean = jax.lax.pmean(mean, self.axis_name)
        is_set = normalizer.value > 0
        value = jnp.where(is_set, normalizer.value, mean * num_examples)
        if not self.is_initializing():
            normalizer.value = value
        return value

    def _update(
        self,
        memory: nn.Variable,
        embeddings: jax.Array,
        inputs: MethodInputs,
        weights: Weights,
    ) -> None:
        """Updates a memory by the embeddings `[B, width]` of all devices."""
        embeddings = self.global_batch(jax.lax.stop_gradient(embeddings))
        indices = self.global_batch(inputs.indices)
        old, momentum = memory.value, weights["momentum"]
        new = jnp.asarray(momentum * old[indices] + (1 - momentum) * embeddings)
        memory.value = old.at[indices].set(l2_normalize(new))
