"""Layers with PyTorch's conventions, shared by all architectures.

Images are `[B, H, W, C]`. Convolutions pad explicitly, because Flax's `SAME` pads a
stride-2 convolution on another side than PyTorch does.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from da_jax.models.convolution import Precision, conv_general_dilated

Dtype = jax.typing.DTypeLike

Initializer = nn.initializers.Initializer

KAIMING_NORMAL = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""`torch.nn.init.kaiming_normal_(mode="fan_out")`: normal, not truncated. The fan of a
grouped convolution is that of all groups, as in PyTorch."""

TORCH_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""U(±1/√fan_in), PyTorch's default for weights of convolutions and linear layers."""

SMALL_NORMAL = nn.initializers.normal(0.01)
"""The initialisation of some classifiers' weights."""


def parameter_dtype(dtype: Dtype) -> Dtype:
    """Returns the dtype of parameters and statistics: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def conv(
    features: int,
    kernel_size: int,
    strides: int = 1,
    *,
    groups: int = 1,
    use_bias: bool = False,
    kernel_init: Initializer = KAIMING_NORMAL,
    bias_init: Initializer = nn.initializers.zeros,
    dtype: Dtype,
    precision: Precision = None,
    name: str,
) -> nn.Conv:
    """Creates a square convolution that keeps the size of images at stride 1."""
    return nn.Conv(
        features,
        (kernel_size, kernel_size),
        strides=(strides, strides),
        padding=(kernel_size - 1) // 2,
        feature_group_count=groups,
        use_bias=use_bias,
        kernel_init=kernel_init,
        bias_init=bias_init,
        dtype=dtype,
        param_dtype=parameter_dtype(dtype),
        precision=precision,
        conv_general_dilated=conv_general_dilated,
        name=name,
    )


def torch_bias(fan_in: int) -> Initializer:
    """Creates the initialiser U(±1/√fan_in), PyTorch's default for biases."""
    bound = 1.0 / math.sqrt(fan_in)

    def init(
        key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32
    ) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Linear(nn.Module):
    """A linear layer as `torch.nn.Linear`.

    Attributes:
      features: width of the outputs.
      dtype: parameters have it, or float32 if it is smaller.
      precision: of the product.
      kernel_init: of the weights; PyTorch's by default.
      bias_init: of the biases; PyTorch's by default.
    """

    features: int
    dtype: Dtype = jnp.float32
    precision: Precision = None
    kernel_init: Initializer = TORCH_UNIFORM
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `[B, in]` to `[B, features]`, at least in float32."""
        width = inputs.shape[-1]
        bias_init = self.bias_init or torch_bias(width)
        param_dtype = parameter_dtype(self.dtype)
        kernel = self.param(
            "kernel", self.kernel_init, (width, self.features), param_dtype
        )
        bias = self.param("bias", bias_init, (self.features,), param_dtype)
        product = jnp.matmul(
            inputs.astype(param_dtype), kernel, precision=self.precision
        )
        return product + bias


class BatchNorm(nn.Module):
    """Batch norm as `torch.nn.BatchNorm2d`, with statistics of the global batch.

    Both normalise by the biased variance, but the running variance is biased in
    `flax.linen.BatchNorm` and unbiased in PyTorch. A teacher's accuracy and the ascent
    depend on it.

    Attributes:
      dtype: of the outputs.
      axis_name: the pmapped axis the batch is split over, or None.
      momentum: weight of the old running statistics (1 minus PyTorch's).
      epsilon: added to the variance.
    """

    dtype: Dtype = jnp.float32
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Normalises `[B, H, W, C]` by the batch, or by the running statistics.

        Args:
          inputs: `[B, H, W, C]`.
          train: whether to normalise by the batch and update the running statistics.
        """
        features = inputs.shape[-1]
        param_dtype = parameter_dtype(self.dtype)
        scale = self.param("scale", nn.initializers.ones, (features,), param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (features,), param_dtype)
        ones = functools.partial(jnp.ones, (features,), param_dtype)
        zeros = functools.partial(jnp.zeros, (features,), param_dtype)
        running_mean = self.variable("batch_stats", "mean", zeros)
        running_var = self.variable("batch_stats", "var", ones)
        if train:
            values = inputs.astype(param_dtype)
            mean, var, count = self._batch_statistics(values)
            if not self.is_initializing():
                unbiased = var * (count / (count - 1))
                running_mean.value = self._moved(running_mean.value, mean)
                running_var.value = self._moved(running_var.value, unbiased)
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        return ((inputs - mean) * factor + bias).astype(self.dtype)

    def _moved(self, old: jax.Array, new: jax.Array) -> jax.Array:
        return self.momentum * old + (1 - self.momentum) * new

    def _batch_statistics(
        self, values: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array | int]:
        """Computes mean and biased variance `[C]`, and the number of values."""
        mean = _global_mean(jnp.mean(values, axis=(0, 1, 2)), self.axis_name)
        squares = jnp.mean(jnp.square(values - mean), axis=(0, 1, 2))
        var = _global_mean(squares, self.axis_name)
        count = values.size // values.shape[-1]
        if self.axis_name is not None:
            count = count * jax.lax.axis_size(self.axis_name)
        return mean, var, count


def _global_mean(value: jax.Array, axis_name: str | None) -> jax.Array:
    return value if axis_name is None else jax.lax.pmean(value, axis_name)


def channel_shuffle(inputs: jax.Array, groups: int) -> jax.Array:
    """Interleaves the groups of channels of `[B, H, W, groups × C]`."""
    *image, channels = inputs.shape
    split = inputs.reshape(*image, groups, channels // groups)
    return split.swapaxes(-1, -2).reshape(inputs.shape)


def global_average(inputs: jax.Array) -> jax.Array:
    """Averages `[B, H, W, C]` over the pixels to `[B, C]`, at least in float32."""
    return jnp.mean(inputs, axis=(1, 2), dtype=parameter_dtype(inputs.dtype))


def average_pool(features: jax.Array, height: int, width: int) -> jax.Array:
    """Pools `[B, H, W, C]` as `torch.nn.functional.adaptive_avg_pool2d` does."""
    rows = _pooling(features.shape[1], height, features.dtype)
    columns = _pooling(features.shape[2], width, features.dtype)
    return jnp.einsum("bhwc,ih,jw->bijc", features, rows, columns, precision="highest")


def _pooling(size: int, target: int, dtype: jax.typing.DTypeLike) -> np.ndarray:
    """Returns the matrix `[target, size]` of the means over windows."""
    matrix = np.zeros((target, size))
    for index in range(target):
        first, last = index * size // target, -(-(index + 1) * size // target)
        matrix[index, first:last] = 1 / (last - first)
    return matrix.astype(dtype)
