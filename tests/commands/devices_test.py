"""Devices that JAX_PLATFORMS names and the machine lacks, and a GPU that is unused."""

import os
import subprocess
import sys

import pytest

from da_jax.training import devices
from tests.command_runs import run_all

TEACHER = "checkpoints/digits_resnet20"
COMMANDS = [
    ("da_jax.main", "--config=configs/digits.py", "--workdir={output}"),
    ("da_jax.sweep", "--config=configs/digits.py", "--workdir={output}"),
    ("da_jax.evaluate", "--model=resnet20", f"--checkpoint={TEACHER}"),
    ("da_jax.export", TEACHER, "--output={output}"),
    ("da_jax.robustness", f"--student=a={TEACHER}", f"--teacher=b={TEACHER}"),
    ("da_jax.visualize", f"--student={TEACHER}", f"--teacher={TEACHER}"),
    ("convert", "--model=resnet20", "--source=x", "--output={output}"),
]
OWN = {
    "da_jax.robustness": ("--dataset=digits", "--output={output}"),
    "da_jax.visualize": ("--dataset=digits", "--output={output}"),
}
INSTALL = "pip install 'da-jax[cuda12]' (or cuda13)"
GPU = f"an NVIDIA GPU: {INSTALL}"

pytestmark = pytest.mark.skipif(
    devices.NVIDIA.is_installed or devices.TPU.is_installed,
    reason="JAX is installed for an accelerator",
)


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("cuda", GPU),
        ("gpu", GPU),
        ("tpu", "a TPU: pip install 'da-jax[tpu]'"),
        ("abacus", "Unable to initialize backend 'abacus'"),
    ],
)
def test_every_command_names_the_missing_device_and_what_to_install(
    tmp_path, monkeypatch, platform, message
):
    monkeypatch.setenv("JAX_PLATFORMS", platform)
    output = tmp_path / "output"
    commands = [
        [word.format(output=output) for word in (*command, *OWN.get(command[0], ()))]
        for command in COMMANDS
    ]
    for command, done in zip(commands, run_all(commands), strict=True):
        assert done.returncode == 2, (command, done)
        assert done.stderr.count("\n") == 1 and message in done.stderr, done.stderr
        assert not done.stdout and not output.exists()


def start_jax(preparation="", **environment):
    """What a command says when it starts JAX, with the environment's changes."""
    code = f"{preparation or 0}; from da_jax.commands import command_line as c;"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} c.exit_on_error()(c.start_jax)()"],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": "", **environment},
    )
    return done.returncode, done.stderr


@pytest.fixture
def with_a_driver(tmp_path):
    """Code by which a process sees NVIDIA's driver, as JAX itself does."""
    (tmp_path / "nvidia0").touch()
    device = str(tmp_path / "nvidia0")
    return (
        "import pathlib, jax._src.hardware_utils as h, da_jax.training.devices as d;"
        f"d.NVIDIA_DRIVER = (pathlib.Path({device!r}),);"
        f"h._NVIDIA_GPU_DEVICES = [{device!r}]"
    )


def test_an_unused_gpu_is_a_warning_of_one_line(with_a_driver):
    code, said = start_jax(with_a_driver)
    assert code == 0 and said.count("\n") == 1
    assert (
        said.startswith("warning: this machine has NVIDIA's driver") and INSTALL in said
    )
    for hidden in (
        {"JAX_PLATFORMS": "cpu"},
        {"CUDA_VISIBLE_DEVICES": ""},
        {"CUDA_VISIBLE_DEVICES": "-1"},
    ):
        code, said = start_jax(with_a_driver, **hidden)
        assert code == 0 and "da-jax" not in said, hidden
    code, said = start_jax("import da_jax.training.devices as d; d.NVIDIA_DRIVER = ()")
    assert (code, said) == (0, "")


def test_a_platform_with_a_substitute_is_a_warning():
    code, said = start_jax("", JAX_PLATFORMS="cuda,cpu")
    assert code == 0 and said.count("\n") == 1 and INSTALL in said


def test_a_plugin_that_finds_no_gpu_is_not_installed_again(tmp_path):
    (tmp_path / "jax_cuda12_plugin").mkdir()
    (tmp_path / "jax_cuda12_plugin" / "__init__.py").touch()
    path = {"PYTHONPATH": str(tmp_path)}
    code, said = start_jax("", JAX_PLATFORMS="cuda", **path)
    assert code == 2 and said.count("\n") == 1
    assert "JAX can't use an NVIDIA GPU here" in said and "pip" not in said
    code, said = start_jax("", JAX_PLATFORMS="cuda,cpu", **path)
    assert code == 0 and "JAX finds CPUs only" in said
