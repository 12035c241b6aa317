"""What `config.json` holds, and which configs differ from it."""

import json

import pytest
from da_jax.configs import digits
from ml_collections import ConfigDict

from da_jax.augmentations import AUGMENTATIONS
from da_jax.config.completion import complete
from da_jax.config.defaults import defaults, sections_in_use
from da_jax.config.record import (
    RESUMABLE_FIELDS,
    SCHEMA,
    differing_configs,
    flatten,
    to_record,
)


def in_json(content):
    return json.loads(json.dumps(content))


def sections(record):
    return {name for name, value in record.items() if isinstance(value, dict)}


def record_of(config):
    return to_record(config.to_dict(), sections_in_use(config))


def whole(config):
    """What version 0 wrote."""
    return config.to_dict()


def differing(config, recorded):
    default = defaults(config.name, config.student).to_dict()
    return differing_configs(
        record_of(config), in_json(recorded), default, sections_in_use(config)
    )


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
    record = record_of(config)
    assert record["schema"] == SCHEMA
    assert sections(record) == {"teacher", "optimizer", *own}
    whole = config.to_dict()
    assert all(record[name] == whole[name] for name in record if name != "schema")
    assert whole.keys() - record.keys() == sections(whole) - sections(record)
    config.wandb.mode = "offline"
    assert sections(record_of(config)) == sections(record) | {"wandb"}


def test_an_augmentation_of_ones_own_may_share_a_section(monkeypatch):
    class Own(AUGMENTATIONS["disagreement"]):
        config_section = "fgsm"

    monkeypatch.setitem(AUGMENTATIONS, "own", Own)
    config = digits.get_config()
    config.augmentation = "own"
    recorded = record_of(config)
    assert sections(recorded) == {"teacher", "optimizer", "KD", "fgsm"}
    config.fgsm.learning_rate = 0.5
    assert differing(config, recorded) == [
        "fgsm.learning_rate (0.01778 there, 0.5 now)"
    ]


@pytest.mark.parametrize("variant", ["da", "noise", "CRD,none"])
def test_a_config_does_not_differ_from_its_record_of_any_version(variant):
    config = digits.get_config(variant)
    assert not differing(config, record_of(config))
    assert not differing(config, config.to_dict())  # version 0 has every section


def test_a_field_that_the_file_lacks_has_its_default():
    config = digits.get_config()
    recorded = record_of(config)
    del recorded["eval_every"], recorded["disagreement"]["target"]
    assert not differing(config, recorded)
    config.eval_every, config.disagreement.target = 2, 0.1
    assert differing(config, recorded) == [
        "disagreement.target (0.0 there, 0.1 now)",
        "eval_every (1 there, 2 now)",
    ]


def test_a_section_that_the_file_lacks_has_its_defaults():
    config = digits.get_config()
    recorded = record_of(config)
    del recorded["disagreement"]
    assert not differing(config, recorded)
    config.disagreement.steps = 3
    assert differing(config, recorded) == ["disagreement.steps (1 there, 3 now)"]


@pytest.mark.parametrize("version", [record_of, whole])
def test_another_method_is_one_difference_whatever_its_section_holds(version):
    one, two = digits.get_config("KD,da"), digits.get_config("DKD,none")
    two.name = one.name
    expected = [
        "augmentation ('disagreement' there, 'none' now)",
        "method ('KD' there, 'DKD' now)",
    ]
    assert differing(two, version(one)) == expected
    one.KD.temperature, one.disagreement.steps, two.DKD.beta = 2.0, 3, 6.0
    assert differing(two, version(one)) == expected


def test_fields_that_change_no_result_do_not_differ():
    config = digits.get_config()
    recorded = record_of(config)
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
