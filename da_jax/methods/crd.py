"""Contrastive Representation Distillation: tell the teacher's view of an image apart.

Both networks' pooled features are embedded on the unit sphere. An image's embedding by
one network is contrasted with remembered embeddings by the other: its own, and those of
K images of other classes. With h(v) = e^(v / τ) / Z, N images and P = K / N:

  L = w_ce · CE(S, y) + w_feat · Σ_both −(log h₀ / (h₀ + P) + Σ_k log P / (h_k + P))

Z is set by the first batch. The memories move by a momentum towards what is seen.

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
from da_jax.methods.interface import (
    Batch,
    Losses,
    Method,
    Weights,
    taught,
)
from da_jax.methods.vectors import l2_normalize
from da_jax.models.layers import Linear, parameter_dtype

EPSILON = 1e-7

NETWORKS = ("student", "teacher")


def contrastive_loss(scores: jax.Array, num_examples: int) -> jax.Array:
    """The loss of `[B, 1 + K]` values of h, the image's own first, a scalar."""
    noise = (scores.shape[1] - 1) / num_examples
    log_own = jnp.log(scores[:, 0] / (scores[:, 0] + noise + EPSILON))
    log_others = jnp.log(noise / (scores[:, 1:] + noise + EPSILON))
    return -(jnp.sum(log_own) + jnp.sum(log_others)) / len(scores)


def sample_others(
    key: jax.Array, label: jax.Array, train_labels: jax.Array, count: int
) -> jax.Array:
    """`count` examples of other classes than `label`, as indices of `[N]`.

    Each at most once, as the original draws them, if that leaves half of the examples;
    else any number of times.
    """
    is_other = train_labels != label
    if 2 * count <= len(train_labels):
        rank = jnp.where(is_other, jax.random.uniform(key, is_other.shape), -1.0)
        return jax.lax.top_k(rank, count)[1]
    others = jnp.argsort(~is_other)  # stable: those of other classes come first
    drawn = jax.random.randint(key, (count,), 0, jnp.maximum(jnp.sum(is_other), 1))
    return others[drawn]


class CRD(Method):
    """Contrastive Representation Distillation."""

    features: ClassVar = ("pooled_feat",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(0.8, NOT_NEGATIVE, "weight of the contrastive loss"),
        "temperature": Declaration(0.07, POSITIVE, "temperature of the scores"),
        "momentum": Declaration(0.5, NOT_NEGATIVE, "momentum of the memories"),
    }

    width: int = setting(128, AT_LEAST_ONE, "width of the embeddings")
    num_others: int = setting(16384, AT_LEAST_ONE, "negatives per example")

    @nn.compact
    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_kd`."""
        embeddings = {
            whose: self._embed(outputs.features["pooled_feat"], f"embed_{whose}")
            for whose, outputs in zip(
                NETWORKS, (batch.student, taught(batch)), strict=True
            )
        }
        memories = {whose: self._memory(whose, batch) for whose in NETWORKS}
        contrasted = self.contrasted(batch)
        scores = {
            whose: self._scores(
                embeddings[whose], memories[other].value, contrasted, weights
            )
            for whose, other in zip(NETWORKS, reversed(NETWORKS), strict=True)
        }
        num_examples = len(batch.train_labels)
        losses = [
            contrastive_loss(
                scores[whose] / self._normalizer(whose, scores[whose], num_examples),
                num_examples,
            )
            for whose in NETWORKS
        ]
        if not self.is_initializing():
            for whose in NETWORKS:
                memories[whose].value = self._moved(
                    memories[whose].value, embeddings[whose], batch, weights
                )
        return {"loss_kd": (losses[0] + losses[1]) * weights["feat_weight"]}

    def contrasted(self, batch: Batch) -> jax.Array:
        """`[B, 1 + K]`: each image's own index, and those of other classes."""
        count = len(batch.labels)
        if self.axis_name is not None:
            count *= jax.lax.axis_size(self.axis_name)
        keys = self.share(jax.random.split(self.make_rng("method"), count))
        others = jax.vmap(sample_others, (0, 0, None, None))(
            keys, batch.labels, batch.train_labels, self.num_others
        )
        return jnp.concatenate([batch.indices[:, None], others], axis=1)

    def _embed(self, features: jax.Array, name: str) -> jax.Array:
        return l2_normalize(
            Linear(self.width, self.dtype, self.precision, name=name)(features)
        )

    def _memory(self, whose: str, batch: Batch) -> nn.Variable:
        """`[N, width]`: uniform at first, as the original's, of about unit rows."""
        bound = (3 / self.width) ** 0.5

        def init() -> jax.Array:
            shape = (len(batch.train_labels), self.width)
            dtype = parameter_dtype(self.dtype)
            key = self.make_rng("params")
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        return self.variable("memory", whose, init)

    def _scores(
        self,
        embeddings: jax.Array,
        memory: jax.Array,
        contrasted: jax.Array,
        weights: Weights,
    ) -> jax.Array:
        """e^(v / τ) of `[B, width]` and what is contrasted, `[B, 1 + K]`."""
        # All products are cheaper than to gather B × K embeddings: [B, N] is small.
        products = jnp.matmul(embeddings, memory.T, precision=self.precision)
        products = jnp.take_along_axis(products, contrasted, axis=1)
        return jnp.exp(products / weights["temperature"])

    def _normalizer(
        self, whose: str, scores: jax.Array, num_examples: int
    ) -> jax.Array:
        """Z, from the first batch's scores on."""
        normalizer = self.variable(
            "memory", f"normalizer_{whose}", jnp.zeros, (), scores.dtype
        )
        mean = jax.lax.stop_gradient(jnp.mean(scores))
        if self.axis_name is not None:
            mean = jax.lax.pmean(mean, self.axis_name)
        is_set = normalizer.value > 0
        value = jnp.where(is_set, normalizer.value, mean * num_examples)
        if not self.is_initializing():
            normalizer.value = value
        return value

    def _moved(
        self, memory: jax.Array, embeddings: jax.Array, batch: Batch, weights: Weights
    ) -> jax.Array:
        """The memory `[N, width]` after the batch, of all devices."""
        embeddings = self.global_batch(jax.lax.stop_gradient(embeddings))
        indices = self.global_batch(batch.indices)
        momentum = weights["momentum"]
        moved = jnp.asarray(momentum * memory[indices] + (1 - momentum) * embeddings)
        return memory.at[indices].set(l2_normalize(moved))
