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
from da_jax.models import create_model
from da_jax.training.compilation import configure_compiler

configure_compiler()
network, images = create_model("resnet8", 10), jnp.ones((8, 32, 32, 3))
variables = network.init(jax.random.key(0), images)

def loss(images):
    return jnp.sum(network.apply(variables, images)[0] ** 2)

print(jax.jit(jax.grad(loss)).lower(images).compile().as_text())
"""


def ynn_convolutions(flags=""):
    """How many convolutions YNNPACK has in XLA's program for gradients on a CPU."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    computations = re.split(r"\n(?=%|ENTRY)", done.stdout)
    fused = [part for part in computations if part.startswith("%fused_computation")]
    in_ynn = re.findall(r"kind=kCustom, calls=(%[\w.]+),.*__ynn_fusion", done.stdout)
    return sum(
        " convolution(" in part for part in fused if part.split(" ")[0] in in_ynn
    )


def test_eigen_takes_convolutions_on_cpus_unless_the_user_says_otherwise():
    assert ynn_convolutions() == 0
    option = compilation.CPU_CONVOLUTIONS.partition("=")[0]
    assert ynn_convolutions(f"{option}=+individual_convolution") > 0


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
