"""What `results/` promises: commands that can be run."""

import re
import shlex
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from da_jax.configuration import check_config
from tests.main_test import REPOSITORY

WANTED = (REPOSITORY / "results" / "README.md").read_text()
COMMANDS = re.findall(r"python -m da_jax\.main .*", WANTED.replace("\\\n", " "))


@pytest.fixture
def parse(monkeypatch):
    """A function from a command to its config and workdir."""
    monkeypatch.chdir(REPOSITORY)

    def parse(command):
        monkeypatch.setattr(sys, "argv", shlex.split(command)[2:])  # overrides in it
        values = flags.FlagValues()
        config = config_flags.DEFINE_config_file("config", flag_values=values)
        workdir = flags.DEFINE_string("workdir", None, "", flag_values=values)
        values(sys.argv)
        return config.value, workdir.value

    return parse


@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: command.split("/")[-1]
)
def test_a_wanted_run_is_one_that_can_be_meant(parse, command):
    config, workdir = parse(command)
    check_config(config)
    made = {parse(other)[1] for other in COMMANDS}
    assert workdir.startswith("results/")
    parent, _, folder = config.teacher.checkpoint.rpartition("/")
    assert folder != "best" or parent in made


def test_every_wanted_run_has_a_folder_of_its_own(parse):
    workdirs = [parse(command)[1] for command in COMMANDS]
    assert len(set(workdirs)) == len(workdirs) > 10
