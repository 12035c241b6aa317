"""What messages tell a user to do."""

import re
import tomllib
from pathlib import Path

from da_jax.errors import install_command

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
