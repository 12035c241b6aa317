"""What a config may hold: recipes."""

import pytest
from da_jax.configs import digits

from da_jax.config.checks import check_config
from da_jax.errors import UserError

REFUSED = [
    ({"optimizer.name": "adamax"}, "known: dot, sgd, adamw, lion, lamb"),
    ({"optimizer.schedule": "cos"}, "known: step, cosine, linear, constant"),
    ({"optimizer.clip_norm": -1.0}, "clip_norm is -1.0; it must be at least 0"),
    ({"optimizer.clip_norm": float("inf")}, "clip_norm is inf; it must be at least 0"),
    ({"optimizer.warmup_epochs": -0.5}, "warmup_epochs is -0.5; it must be at least 0"),
    (
        {"optimizer.warmup_epochs": 10.0},
        "warmup_epochs is 10, but config.num_epochs is 10; the warm-up must be shorter",
    ),
    ({"label_smoothing": 1.0}, "label_smoothing is 1.0; it must be at least 0 and"),
    (
        {"label_smoothing": 0.1, "use_labels": False},
        "label_smoothing is 0.1, but config.use_labels=False drops the cross-entropy",
    ),
    ({"ema_decay": 1.0}, "ema_decay is 1.0; it must be at least 0 and below 1"),
    ({"ema_decay": float("nan")}, "ema_decay is nan; it must be at least 0"),
]


def create_config(fields):
    config = digits.get_config()
    config.update_from_flattened_dict(fields)
    return config


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_a_recipe_that_cannot_be_meant_is_refused_in_one_line(fields, message):
    with pytest.raises(UserError) as error:
        check_config(create_config(fields))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer.name": "dot", "optimizer.schedule": "cosine"},
        {"optimizer.schedule": "linear", "optimizer.warmup_epochs": 9.5},
        {"optimizer.warmup_epochs": 8.0},  # beyond the first mark of the decay
        {"label_smoothing": 0.1, "ema_decay": 0.999, "optimizer.clip_norm": 1.0},
    ],
)
def test_recipes_are_combined(fields):
    check_config(create_config(fields))
