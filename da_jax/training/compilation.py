"""How XLA compiles: into a cache that stays, and fast convolutions for CPUs."""

import os
from pathlib import Path

import jax

SECONDS_WORTH_KEEPING = 0.5
"""What took less to compile isn't kept."""

CPU_CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
"""XLA 0.10 gives CPU convolutions to YNNPACK; Eigen, its other choice, is up to twice
as fast with float32 images of CIFAR's size (`benchmarks/step_time.py`)."""


def configure_compiler() -> None:
    """Sets XLA's options and JAX's compilation cache; before JAX is used for anything.

    The environment comes first: `JAX_COMPILATION_CACHE_DIR` names another folder than
    `da_jax` in the user's cache folder, `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`
    what is worth keeping, `JAX_ENABLE_COMPILATION_CACHE=false` does without, and an
    option in `XLA_FLAGS` stays as it is.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    option = CPU_CONVOLUTIONS.partition("=")[0]
    # XLA ends the process over an option that it doesn't know.
    if option not in flags and jax.__version_info__[:2] == (0, 10):
        os.environ["XLA_FLAGS"] = f"{flags} {CPU_CONVOLUTIONS}".strip()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(caches / "da_jax"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update(
            "jax_persistent_cache_min_compile_time_secs", SECONDS_WORTH_KEEPING
        )
