"""MODELS: the architectures, by mdistiller's names."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.errors import UserError, unknown_name
from da_jax.models import mobilenetv2, resnet, shufflenetv1, shufflenetv2, vgg, wrn
from da_jax.models.checks import check_axis, check_logits
from da_jax.models.convolution import Precision
from da_jax.models.network import Network, Stages
from da_jax.models.reused_classifier import reuse_classifier

__all__ = [
    "MODELS",
    "Network",
    "Stages",
    "check_axis",
    "check_logits",
    "create_model",
    "is_model",
    "reusing",
    "without_reused",
]

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


REUSES = "+"


def reusing(student: str, teacher: str) -> str:
    """Returns the name of a student with the classifier of a teacher."""
    return f"{student}{REUSES}{teacher}"


def without_reused(name: str) -> str:
    """Returns the name of the student in a name by `reusing`; others as they are."""
    return name.partition(REUSES)[0]


def is_model(name: str) -> bool:
    """Returns whether `create_model` knows a name."""
    return all(part in MODELS for part in name.split(REUSES))


def create_model(
    name: str,
    num_classes: int = 100,
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    precision: Precision = None,
    axis_name: str | None = None,
) -> nn.Module:
    """Creates the architecture `name` as a Flax module, without weights.

    An entry of `MODELS` gets the arguments below that it takes. Our architectures take
    all of them, and return `(logits [B, num_classes], features)` for normalised images
    `[B, 32, 32, 3]`; `da_jax.models.forward` calls them and any other module.

    Args:
      name: a key of `MODELS`, or two joined by `reusing`.
      num_classes: width of the logits; `check_logits` checks a module that doesn't take
        it.
      dtype: of the activations; parameters are float32, or float64 with it.
      precision: of the products, as `jax.lax` has it; None is the device's default. A
        module that doesn't take it computes in float32.
      axis_name: the pmapped axis over which batch norm takes its statistics; see
        `check_axis` for a module that doesn't take it.

    Raises:
      UserError: there is no such architecture, or it has no activations of `dtype`.
    """
    student, reuses, teacher = name.partition(REUSES)
    if reuses:
        options: dict[str, Any] = {
            "dtype": dtype,
            "precision": precision,
            "axis_name": axis_name,
        }
        return reuse_classifier(
            (student, teacher),
            create_model(student, 0, **options),
            create_model(teacher, num_classes, **options),
            num_classes=num_classes,
            **options,
        )
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    parameters = inspect.signature(MODELS[name]).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    taken = {parameter.name for parameter in parameters}
    arguments = {
        argument: value
        for argument, value in {
            "num_classes": num_classes,
            "dtype": dtype,
            "precision": precision,
            "axis_name": axis_name,
        }.items()
        if takes_all or argument in taken
    }
    if "dtype" not in arguments and jnp.dtype(dtype) not in (jnp.float32, jnp.float64):
        raise UserError(
            f"{name} works in float32 only; use --config.precision=float32 or"
            " tensorfloat32, or give it a field `dtype`"
        )
    return MODELS[name](**arguments)
