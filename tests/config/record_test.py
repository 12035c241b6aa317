"""What `config.json` holds, and which configs differ from it."""

import json

import pytest
from ml_collections import ConfigDict

from configs import digits
from da_jax.augmentations import AUGMENTATIONS
from da_jax.config.command_line import complete
from da_jax.config.defaults import config_section, defaults
from da_jax.config.record import (
    RESUMABLE_FIELDS,
    SCHEMA,
    SHARED_SECTIONS,
    differing_configs,
    flatten,
    to_record,
)


def in_json(content):
    return json.loads(json.dumps(content))


def sections(record):
    return {name for name, value in record.items() if isinstance(value, dict)}


def differing(config, recorded):
    default = defaults(config.name, config.student).to_dict()
    return differing_configs(to_record(config.to_dict()), in_json(recorded), default)


@pytest.mark.parametrize(
    ("variant", "own"),
    [
        ("da", {"KD", "disagreement"}),
        ("noise", {"KD", "disagreement"}),
        ("fgsm", {"KD", "fgsm"}),
        ("CRD,none", {"CRD"}),
    ],
)
def test_a_record_has_its_schema_and_only_the_sections_in_use(variant, own):
    config = digits.get_config(variant)
    record = to_record(config.to_dict())
    assert record["schema"] == SCHEMA
    assert sections(record) == {"teacher", "optimizer", *own}
    whole = config.to_dict()
    assert all(record[name] == whole[name] for name in record if name != "schema")
    assert whole.keys() - record.keys() == sections(whole) - sections(record)
    config.wandb.mode = "offline"
    assert sections(to_record(config.to_dict())) == sections(record) | {"wandb"}


def test_shared_sections_are_those_that_the_augmentations_name():
    shared = {name: config_section(AUGMENTATIONS, name) for name in AUGMENTATIONS}
    own = {name: section for name, section in shared.items() if name != section}
    assert own == SHARED_SECTIONS


@pytest.mark.parametrize("variant", ["da", "noise", "CRD,none"])
def test_a_config_does_not_differ_from_its_record_of_any_version(variant):
    config = digits.get_config(variant)
    assert not differing(config, to_record(config.to_dict()))
    assert not differing(config, config.to_dict())  # version 0 has every section


def test_a_field_that_the_file_lacks_has_its_default():
    config = digits.get_config()
    recorded = to_record(config.to_dict())
    del recorded["eval_every"], recorded["disagreement"]["target"]
    assert not differing(config, recorded)
    config.eval_every, config.disagreement.target = 2, 0.1
    assert differing(config, recorded) == [
        "disagreement.target (0.0 there, 0.1 now)",
        "eval_every (1 there, 2 now)",
    ]


def test_a_section_that_the_file_lacks_has_its_defaults():
    config = digits.get_config()
    recorded = to_record(config.to_dict())
    del recorded["disagreement"]
    assert not differing(config, recorded)
    config.disagreement.steps = 3
    assert differing(config, recorded) == ["disagreement.steps (1 there, 3 now)"]


@pytest.mark.parametrize("version", [to_record, dict])
def test_another_method_is_one_difference_whatever_its_section_holds(version):
    one, two = digits.get_config("KD,da"), digits.get_config("DKD,none")
    two.name = one.name
    expected = [
        "augmentation ('disagreement' there, 'none' now)",
        "method ('KD' there, 'DKD' now)",
    ]
    assert differing(two, version(one.to_dict())) == expected
    one.KD.temperature, one.disagreement.steps, two.DKD.beta = 2.0, 3, 6.0
    assert differing(two, version(one.to_dict())) == expected


def test_fields_that_change_no_result_do_not_differ():
    config = digits.get_config()
    recorded = to_record(config.to_dict())
    config.wandb.mode, config.wandb.project = "offline", "another"
    config.data_dir, config.parallel = "elsewhere", "seeds"
    for field in RESUMABLE_FIELDS:
        if isinstance(config.get(field), int):
            config[field] += 1
    assert not differing(config, recorded)
    config.optimizer.decay_epochs = (1,)
    assert differing(config, recorded) == [
        "optimizer.decay_epochs ([6, 8, 9] there, [1] now)"
    ]


def test_a_config_of_an_earlier_version_is_completed():
    now = digits.get_config()
    now.seed, now.disagreement.steps = 7, 3
    fields = now.to_dict()
    del fields["eval_every"], fields["wandb"], fields["imports"]
    del fields["disagreement"]["target"], fields["optimizer"]["decay_epochs"]
    earlier = ConfigDict(fields).lock()
    completed = complete(earlier)
    default = defaults(now.name, now.student)
    assert completed.optimizer.decay_epochs == default.optimizer.decay_epochs
    assert isinstance(completed.optimizer.decay_epochs, tuple)
    completed.optimizer.decay_epochs = now.optimizer.decay_epochs
    assert dict(flatten(completed.to_dict())) == dict(flatten(now.to_dict()))
    assert completed.is_locked and completed.wandb.is_locked
