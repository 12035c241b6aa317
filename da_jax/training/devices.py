"""The devices that JAX computes on, checked before a command reads anything."""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from da_jax.errors import UserError, install_command, reason

logger = logging.getLogger(__name__)


class Accelerator(NamedTuple):
    """A kind of device that JAX uses through a plugin.

    Attributes:
      device: its name in messages, with an article.
      extras: the extras of da-jax of which one installs the plugin.
      plugins: the modules that they install.
    """

    device: str
    extras: tuple[str, ...]
    plugins: tuple[str, ...]

    @property
    def is_installed(self) -> bool:
        """Whether there is a plugin."""
        return any(importlib.util.find_spec(plugin) for plugin in self.plugins)

    @property
    def installation(self) -> str:
        """The command that installs the plugin."""
        command = install_command(self.extras[0])
        others = "".join(f" (or {extra})" for extra in self.extras[1:])
        return command + others


NVIDIA = Accelerator(
    "an NVIDIA GPU", ("cuda12", "cuda13"), ("jax_cuda12_plugin", "jax_cuda13_plugin")
)
TPU = Accelerator("a TPU", ("tpu",), ("libtpu",))

ACCELERATORS = {"cuda": NVIDIA, "gpu": NVIDIA, "tpu": TPU}
"""By JAX's names of platforms."""

NVIDIA_DRIVER = (
    Path("/proc/driver/nvidia/version"),
    Path("/dev/nvidia0"),
    Path("/usr/lib/wsl/lib/libcuda.so.1"),
)
"""Files of NVIDIA's driver; a machine with a driver has at least one of them."""

NO_DEVICES = ("", "-1")
"""The values of `CUDA_VISIBLE_DEVICES` that hide all GPUs."""


def check_devices() -> None:
    """Checks that JAX can use the platforms that `JAX_PLATFORMS` names.

    Starts JAX's devices. Warns if they are CPUs although there is an accelerator.

    Raises:
      UserError: a platform is missing; says what to install.
    """
    requested = jax.config.jax_platforms or ""  # type: ignore[attr-defined]
    try:
        with _held_back_warnings("jax._src.xla_bridge") as warnings:
            platform = jax.default_backend()
    # Without a GPU, JAX fails an assertion.
    except (RuntimeError, AssertionError) as error:
        raise UserError(_missing(requested, error)) from error
    unused = _unused_accelerator(requested) if platform == "cpu" else None
    for warning in [unused] if unused else warnings:
        logger.warning(warning)


def _named_accelerators(requested: str) -> list[Accelerator]:
    return [ACCELERATORS[name] for name in requested.split(",") if name in ACCELERATORS]


def _missing(requested: str, error: Exception) -> str:
    """Says why JAX can't use the requested platforms, and what to install."""
    why = f": {reason(error)}" if str(error) else ""
    instead = "unset JAX_PLATFORMS to use the devices that JAX finds"
    named = _named_accelerators(requested)
    if not named:
        return f"JAX can't use its devices{why}"
    accelerator = named[0]
    if accelerator.is_installed:
        return (
            f"JAX_PLATFORMS is {requested}, but JAX can't use {accelerator.device}"
            f" here{why}; {instead}"
        )
    return (
        f"JAX_PLATFORMS is {requested}, but JAX isn't installed for"
        f" {accelerator.device}: {accelerator.installation}, or {instead}"
    )


def _unused_accelerator(requested: str) -> str | None:
    """Says which accelerator JAX leaves unused; None if there is no sign of one."""
    named = _named_accelerators(requested)
    if named and named[0].is_installed:
        return f"JAX_PLATFORMS is {requested}, but JAX finds CPUs only"
    if named:
        accelerator, sign = named[0], f"JAX_PLATFORMS is {requested}"
    elif not requested and not NVIDIA.is_installed and _has_nvidia_driver():
        accelerator, sign = NVIDIA, "this machine has NVIDIA's driver"
    else:
        return None
    return (
        f"{sign}, but JAX isn't installed for {accelerator.device} and uses CPUs:"
        f" {accelerator.installation}"
    )


def _has_nvidia_driver() -> bool:
    are_hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in NO_DEVICES
    return not are_hidden and any(file.exists() for file in NVIDIA_DRIVER)


@contextlib.contextmanager
def _held_back_warnings(name: str) -> Iterator[list[str]]:
    """Collects the warnings of a logger instead of printing them."""
    held_back: list[str] = []

    def hold_back(record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        held_back.append(" ".join(record.getMessage().split()))
        return False

    other = logging.getLogger(name)
    other.addFilter(hold_back)
    try:
        yield held_back
    finally:
        other.removeFilter(hold_back)
