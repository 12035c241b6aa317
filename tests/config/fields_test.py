"""The fields of a config: their defaults, ranges and rows of help."""

from da_jax.config.checks import check_config
from da_jax.config.defaults import defaults
from da_jax.config.fields import FIELDS, rows
from da_jax.config.record import flatten
from tests.command_runs import run_all


def test_the_rows_list_every_field_once_with_its_default():
    fields = dict(flatten(defaults("", "").to_dict()))
    listed = list(rows())
    assert [row.field for row in listed] == list(dict.fromkeys(r.field for r in listed))
    assert {row.field for row in listed} == fields.keys()
    for row in listed:
        assert row.help and row.range and row.kind in ("traced", "static"), row
    by_field = {row.field: row for row in listed}
    assert by_field["VID.variance"][1:4] == ("5.0", "positive", "traced")
    assert by_field["AT.power"][1:4] == ("2", "at least 1", "static")
    assert by_field["optimizer.learning_rate"].kind == "traced"
    assert by_field["disagreement.divergence"].range == "mse, kl"


def test_every_default_is_in_its_range():
    for field, declared in FIELDS.items():
        required = field == "student"
        assert declared.range.contains(declared.default) != required, field
    config = defaults("run", "resnet8")
    config.teacher.model = "resnet20"
    check_config(config)


def test_both_commands_that_train_list_the_fields_and_the_flag():
    commands = [
        (module, flag)
        for module in ("da_jax.main", "da_jax.sweep")
        for flag in ("--help=config", "--help")
    ]
    ended = run_all(commands)
    for (_, flag), done in zip(commands, ended, strict=True):
        if flag == "--help":
            assert "--config: The run's config: a bundled one, NAME[:VARIANT]" in (
                done.stdout
            )
            continue
        assert done.returncode == 0 and not done.stderr
        for field in ("optimizer.learning_rate", "CRD.num_others", "batch_size"):
            assert f"\n{field} " in done.stdout
