"""XLA's options: accepted by every version of JAX, and what they choose."""

import os
import re
import subprocess
import sys

import jax
import pytest

from da_jax.training import compilation

PROGRAM = """
import jax, jax.numpy as jnp
import flax.linen as nn
from da_jax.training.compilation import configure_compiler

configure_compiler()
network, images = nn.Conv(16, (3, 3)), jnp.ones((8, 32, 32, 3))
variables = network.init(jax.random.key(0), images)
print(jax.jit(network.apply).lower(variables, images).compile().as_text())
"""


def compiled(flags=""):
    """XLA's program for a convolution on a CPU."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r" convolution\(", done.stdout)
    return done.stdout


def test_eigen_takes_convolutions_on_cpus_unless_the_user_says_otherwise():
    assert "__ynn_fusion" not in compiled()
    option = compilation.CPU_CONVOLUTIONS.partition("=")[0]
    assert "__ynn_fusion" in compiled(f"{option}=+individual_convolution")


@pytest.mark.parametrize(
    ("version", "is_set"), [((0, 9, 2), False), ((0, 12, 9), True), ((0, 13, 0), False)]
)
def test_versions_that_may_not_know_the_option_are_not_given_it(
    monkeypatch, version, is_set
):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_max_hlo_modules=1")
    monkeypatch.setattr(jax, "__version_info__", version)
    compilation.configure_compiler()
    flags = os.environ["XLA_FLAGS"].split()
    assert (compilation.CPU_CONVOLUTIONS in flags) == is_set
    assert flags[0] == "--xla_dump_max_hlo_modules=1"
