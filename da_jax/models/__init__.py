"""MODELS: every architecture by mdistiller's name."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from da_jax.errors import unknown_name
from da_jax.models import mobilenetv2, resnet, shufflenetv1, shufflenetv2, vgg, wrn
from da_jax.models.convolution import Precision
from da_jax.models.layers import Dtype
from da_jax.models.network import Network, Stages

__all__ = ["MODELS", "Network", "Stages", "create_model"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet8": functools.partial(resnet.cifar_resnet, 8),
    "resnet14": functools.partial(resnet.cifar_resnet, 14),
    "resnet20": functools.partial(resnet.cifar_resnet, 20),
    "resnet32": functools.partial(resnet.cifar_resnet, 32),
    "resnet44": functools.partial(resnet.cifar_resnet, 44),
    "resnet56": functools.partial(resnet.cifar_resnet, 56),
    "resnet110": functools.partial(resnet.cifar_resnet, 110),
    "resnet8x4": functools.partial(resnet.cifar_resnet, 8, resnet.WIDE),
    "resnet32x4": functools.partial(resnet.cifar_resnet, 32, resnet.WIDE),
    "ResNet18": resnet.ResNet18,
    "ResNet50": resnet.ResNet50,
    "wrn_16_1": functools.partial(wrn.WideResNet, 16, 1),
    "wrn_16_2": functools.partial(wrn.WideResNet, 16, 2),
    "wrn_40_1": functools.partial(wrn.WideResNet, 40, 1),
    "wrn_40_2": functools.partial(wrn.WideResNet, 40, 2),
    "vgg8": functools.partial(vgg.VGG, (1, 1, 1, 1, 1)),
    "vgg11": functools.partial(vgg.VGG, (1, 1, 2, 2, 2)),
    "vgg13": functools.partial(vgg.VGG, (2, 2, 2, 2, 2)),
    "vgg16": functools.partial(vgg.VGG, (2, 2, 3, 3, 3)),
    "vgg19": functools.partial(vgg.VGG, (2, 2, 4, 4, 4)),
    "MobileNetV2": mobilenetv2.MobileNetV2,
    "ShuffleV1": shufflenetv1.ShuffleNetV1,
    "ShuffleV2": shufflenetv2.ShuffleNetV2,
}


def create_model(
    name: str,
    num_classes: int = 100,
    *,
    dtype: Dtype = jnp.float32,
    precision: Precision = None,
    axis_name: str | None = None,
) -> nn.Module:
    """The architecture `name` as a Flax module, without weights.

    `model.apply(variables, images, train=False)` takes normalised images
    `[B, 32, 32, 3]` and gives `(logits [B, num_classes], features)`; with `train=True`
    batch norm uses the batch's statistics and `mutable=["batch_stats"]` returns the
    running ones.

    Args:
      name: a key of `MODELS`.
      num_classes: width of the logits.
      dtype: of the activations; parameters are float32, or float64 with it.
      precision: of the products, as `jax.lax` has it; None is the device's default.
      axis_name: the pmapped axis over which batch norm takes its statistics.

    Raises:
      UserError: no such architecture.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name](
        num_classes=num_classes, dtype=dtype, precision=precision, axis_name=axis_name
    )
