"""Compiler options: a persistent cache, and fast convolutions on CPUs."""

import os
from pathlib import Path

import jax

SECONDS_WORTH_KEEPING = 0.5
"""Programs that compile faster aren't cached."""

CPU_CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
"""Selects Eigen for convolutions on CPUs, where XLA by itself uses YNNPACK.

Eigen is up to twice as fast for float32 images of CIFAR's size
(`benchmarks/step_time.py`).
"""

OLDEST, NEWEST = (0, 10), (0, 12)
"""The versions of JAX whose XLA has the option; another version's might abort."""


def configure_compiler() -> None:
    """Sets XLA's options and JAX's compilation cache. Call it before JAX is used.

    The environment takes precedence: `JAX_COMPILATION_CACHE_DIR` (by default `da_jax`
    in the user's cache folder), `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`,
    `JAX_ENABLE_COMPILATION_CACHE` and options in `XLA_FLAGS`.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    option = CPU_CONVOLUTIONS.partition("=")[0]
    is_known = OLDEST <= jax.__version_info__[:2] <= NEWEST
    if is_known and option not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {CPU_CONVOLUTIONS}".strip()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(caches / "da_jax"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update(
            "jax_persistent_cache_min_compile_time_secs", SECONDS_WORTH_KEEPING
        )
