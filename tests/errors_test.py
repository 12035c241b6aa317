"""What messages tell a user to do."""

import re
import tomllib
from pathlib import Path

import pytest

from da_jax.errors import DivergedError, install_command, unknown_name
from da_jax.models import MODELS

REPOSITORY = Path(__file__).parent.parent


def code():
    for folder in ("da_jax", "convert", "configs"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            yield file.read_text()


def test_hints_install_extras_that_exist_in_a_clone_and_from_a_wheel():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    hinted = set()
    for text in code():
        assert "pip install -e" not in text
        hinted.update(re.findall(r'install_command\(["\'](\w+)["\']\)', text))
    assert {"convert", "plots", "sweep", "tensorboard", "wandb"} <= hinted
    assert hinted <= project["optional-dependencies"].keys()
    assert install_command("plots") == f"pip install '{project['name']}[plots]'"


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("shufflev2", MODELS, "(did you mean ShuffleV2"),
        ("resnet32x", MODELS, "(did you mean resnet32x4, "),
        ("kdd", ["KD", "kd", "none"], "unknown word 'kdd' (did you mean KD or kd?);"),
        ("alexnet", ["vgg8", "vgg13"], "unknown word 'alexnet'; known: vgg8, vgg13"),
        ("prob", ["steps", "probability"], "(did you mean probability?)"),
        ("x", [], "unknown word 'x'"),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_are_near(name, known, message):
    assert str(unknown_name("word", name, known)).startswith("unknown word")
    assert message in str(unknown_name("word", name, known))


def test_a_run_that_diverges_points_at_a_checkpoint_that_exists():
    record = {"diverged": {"0": 3}, "epoch": 1, "learning_rate": 0.05}
    assert "checkpoint" not in str(DivergedError(record, None))
    last = Path("run/checkpoints/9")
    assert f"the last good checkpoint is {last};" in str(DivergedError(record, last))
