"""Eight CPU devices, and one compilation cache for the suite and its subprocesses."""

import os
import tempfile
from pathlib import Path

FLAG = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()
CACHE = Path(tempfile.gettempdir()) / f"da_jax_tests_{os.getuid()}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

# The library's shapes are checked in every call of every test.
jaxtyping.install_import_hook(["da_jax.ascent", "da_jax.losses"], "beartype.beartype")

from tests.command_runs import REPOSITORY, run_all  # noqa: E402

FOLDERS = {
    "benchmarks": "benchmarks",
    "configs": "da_jax.configs",
    "convert": "da_jax.convert",
    "da_jax": "da_jax",
}
"""The packages that commands consist of, by folder."""


def modules():
    for folder, package in FOLDERS.items():
        for file in sorted((REPOSITORY / folder).rglob("*.py")):
            parts = file.relative_to(REPOSITORY / folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__")


# Deprecated calls end commands too. It takes whole names, no patterns.
os.environ["PYTHONWARNINGS"] = ",".join(
    f"error::DeprecationWarning:{module}" for module in modules()
)


@pytest.fixture
def x64():
    """Float64 for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """XLA maps memory for every program, and Linux counts mappings (65,530 at most)."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def short_runs(tmp_path_factory):
    """A folder of two finished runs of other seeds: `one`, logged in W&B, and `two`.

    Their programs are those of other tests, so that they are compiled once.
    """
    folder = tmp_path_factory.mktemp("short_runs")
    command = (
        *("da_jax.main", "--config=configs/digits.py", "--config.num_epochs=1"),
        *("--config.batch_size=360", "--config.eval_batch_size=360"),
        "--config.optimizer.decay_epochs=(1,)",
    )
    runs = {
        "one": ("--config.wandb.mode=offline",),
        "two": ("--config.seed=1", "--config.num_seeds=2"),
    }
    ended = run_all(
        [(*command, *own, f"--workdir={folder / name}") for name, own in runs.items()]
    )
    assert not any(done.returncode for done in ended), ended
    return folder
