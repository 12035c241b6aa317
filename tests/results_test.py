"""What `results/` promises: commands that can be run, and figures that are of them."""

import itertools
import json
import re
import shlex
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from da_jax.analysis.report.curves import charts
from da_jax.analysis.report.rendering import draw_all
from da_jax.analysis.report.runs import is_run_folder, read_run
from da_jax.analysis.report.table import markdown
from da_jax.config.checks import check_config
from da_jax.config.record import flatten
from tests.commands.main_test import REPOSITORY
from tests.run_folders import table_of

RESULTS = REPOSITORY / "results"
RUNS = sorted(folder for folder in RESULTS.iterdir() if is_run_folder(folder))
EVIDENCE = sorted(
    folder for folder in RESULTS.glob("evidence/*") if is_run_folder(folder)
)
WANTED = (RESULTS / "README.md").read_text()
PROTOCOL = (RESULTS / "PROTOCOL.md").read_text()
SEEDS = range(5)


def main_commands(text):
    """The commands that train, each in one line."""
    return re.findall(r"python -m da_jax\.main .*", text.replace("\\\n", " "))


OF_PROTOCOL = [
    command.replace("SEED", str(seed))
    for command in main_commands(PROTOCOL)
    for seed in SEEDS
]
COMMANDS = main_commands(WANTED) + OF_PROTOCOL


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


def test_the_protocol_s_runs_differ_in_seed_and_augmentation_alone(parse):
    configs = [parse(command)[0].to_dict() for command in OF_PROTOCOL]
    arms = {(config["augmentation"], config["seed"]) for config in configs}
    assert arms == set(itertools.product(("none", "disagreement", "noise"), SEEDS))
    for config in configs:
        assert config["train_size"] == 5000 and config["eval_every"] == 10
        for name in ("augmentation", "seed", "name"):
            del config[name]
    assert all(config == configs[0] for config in configs)


@pytest.mark.parametrize("folder", RUNS + EVIDENCE, ids=lambda folder: folder.name)
def test_a_run_here_is_finished_and_of_its_command(parse, folder):
    run = read_run(folder)
    assert run.state == "finished"
    assert run.teacher_top1 is not None or not run.config["teacher"]["model"]
    command = run.results["command"]
    assert command in {shlex.join(shlex.split(wanted)) for wanted in COMMANDS}
    config, workdir = parse(command)
    assert workdir == str(folder.relative_to(REPOSITORY))
    meant = json.loads(json.dumps(config.to_dict()))
    assert dict(flatten(run.config)).items() <= dict(flatten(meant)).items()


def test_the_readme_has_the_table_that_the_report_makes():
    assert RUNS
    table = markdown(table_of(*RUNS))
    assert f"\n\n{table}\n" in (REPOSITORY / "README.md").read_text()


def test_the_curves_here_are_those_that_the_report_draws():
    runs = [folder for folder in RUNS if folder.name.startswith("resnet20_resnet8_")]
    drawn = draw_all(charts(table_of(*runs)))
    for name in ("test_top1", "disagreement"):
        picture = (RESULTS / f"resnet20_resnet8_{name}.svg").read_text()
        assert picture == drawn[f"cifar100_{name}.svg"]
