"""What each method's config section holds."""

from typing import ClassVar

import pytest

from da_jax import declarations
from da_jax.methods import METHODS

SECTIONS = {
    "KD": {
        "temperature": 4.0,
        "ce_weight": 0.1,
        "kd_weight": 0.9,
        "logit_standardization": False,
    },
    "DKD": {
        "temperature": 4.0,
        "ce_weight": 1.0,
        "alpha": 1.0,
        "beta": 8.0,
        "warmup": 20.0,
        "logit_standardization": False,
    },
    "MLKD": {
        "temperature": 4.0,
        "ce_weight": 0.1,
        "kd_weight": 0.9,
        "logit_standardization": False,
    },
    "AT": {"power": 2, "ce_weight": 1.0, "feat_weight": 1000.0},
    "FitNet": {"hint_layer": 2, "ce_weight": 1.0, "feat_weight": 100.0},
    "RKD": {
        "ce_weight": 1.0,
        "feat_weight": 1.0,
        "distance_weight": 25.0,
        "angle_weight": 50.0,
    },
    "SP": {"ce_weight": 1.0, "feat_weight": 3000.0},
    "PKT": {"ce_weight": 1.0, "feat_weight": 30000.0},
    "NST": {"ce_weight": 1.0, "feat_weight": 50.0},
    "VID": {"ce_weight": 1.0, "feat_weight": 1.0, "variance": 5.0},
    "KDSVD": {"rank": 1, "ce_weight": 1.0, "feat_weight": 1.0},
    "OFD": {"kernel_size": 1, "ce_weight": 1.0, "feat_weight": 0.001},
    "ReviewKD": {
        "student_preact": False,
        "ce_weight": 1.0,
        "review_weight": 1.0,
        "warmup": 20.0,
    },
    "CRD": {
        "width": 128,
        "num_others": 16384,
        "ce_weight": 1.0,
        "feat_weight": 0.8,
        "temperature": 0.07,
        "momentum": 0.5,
    },
    "DIST": {
        "temperature": 4.0,
        "ce_weight": 1.0,
        "kd_weight": 2.0,
        "beta": 1.0,
        "gamma": 1.0,
    },
    "SimKD": {"feat_weight": 1.0},
    "CTKD": {
        "ce_weight": 0.1,
        "kd_weight": 0.9,
        "t_min": 1.0,
        "t_range": 20.0,
        "reversal": 1.0,
        "reversal_epochs": 10.0,
        "logit_standardization": False,
    },
    "NKD": {"temperature": 3.0, "ce_weight": 1.0, "gamma": 3.5},
    "TTM": {"ce_weight": 1.0, "kd_weight": 45.0, "exponent": 0.1},
    "WTTM": {"ce_weight": 1.0, "kd_weight": 4.0, "exponent": 0.2},
    "SDD": {
        "base": "DKD",
        "finest": 2,
        "temperature": 4.0,
        "ce_weight": 1.0,
        "kd_weight": 0.9,
        "alpha": 1.0,
        "beta": 8.0,
        "gamma": 8.0,
        "warmup": 20.0,
    },
    "CRLD": {
        "temperature": 4.0,
        "ce_weight": 1.0,
        "wv_weight": 2.0,
        "cv_weight": 0.5,
        "tau_w": 0.9,
        "tau_s": 0.275,
    },
    "WKD_L": {
        "iterations": 10,
        "temperature": 8.0,
        "ce_weight": 1.0,
        "kd_weight": 600.0,
        "regularization": 0.05,
        "sharpness": 1.0,
        "decay_start": 150.0,
        "decay_end": 240.0,
    },
    "RLD": {
        "temperature": 4.0,
        "alpha_temperature": 0.0,
        "ce_weight": 1.0,
        "alpha": 1.0,
        "beta": 8.0,
        "warmup": 20.0,
        "logit_standardization": False,
    },
    "SLD": {"ce_weight": 0.1, "kd_weight": 0.9, "student_target_after": 150.0},
    "vanilla": {},
}
"""mdistiller's values, and from DIST on those of the methods' authors."""


def test_every_method_declares_the_published_values():
    found = {name: declarations.section(cls) for name, cls in METHODS.items()}
    assert found == SECTIONS
    for name, section in SECTIONS.items():
        for field, value in section.items():
            assert type(found[name][field]) is type(value), (name, field)


@pytest.mark.parametrize("name", METHODS)
def test_every_default_is_in_its_range_and_every_field_has_a_help_text(name):
    for field, declared in declarations.declarations(METHODS[name]).items():
        assert declared.range.contains(declared.default), field
        assert declared.help and declared.range.description, field


@pytest.mark.parametrize("name", METHODS)
def test_a_section_splits_into_attributes_and_traced_floats(name):
    settings, hyperparameters = declarations.split(METHODS[name], SECTIONS[name])
    METHODS[name](**settings)
    assert settings | hyperparameters == SECTIONS[name]
    traced = {k for k, value in SECTIONS[name].items() if type(value) is float}
    assert hyperparameters.keys() == traced


def test_subclasses_change_add_and_remove_hyperparameters():
    class Mine(METHODS["KD"]):
        hyperparameters: ClassVar = {
            "ce_weight": None,
            "temperature": declarations.Declaration(2, declarations.AT_LEAST_ONE, "T"),
        }
        power: int = declarations.setting(3, declarations.AT_LEAST_ONE, "exponent")

    expected = {
        "temperature": 2,
        "kd_weight": 0.9,
        "power": 3,
        "logit_standardization": False,
    }
    assert declarations.section(Mine) == expected
    settings, scalars = declarations.split(
        Mine, {"power": 3, "undeclared": 1, "kd_weight": 2}
    )
    assert settings == {"power": 3}
    assert scalars == {"temperature": 2, "kd_weight": 2, "undeclared": 1}
    types = {name: type(value) for name, value in scalars.items()}
    assert types == {"temperature": int, "kd_weight": float, "undeclared": float}
    assert Mine(**settings).power == 3 == Mine().power
