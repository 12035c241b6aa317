"""Config files that can't be loaded, and fields that a config lacks."""

import uuid

import pytest
from da_jax.configs import digits
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from da_jax.config.config_files import load_config, unknown_field
from da_jax.errors import UserError

FIELDS = [
    ("num_epoch", "unknown field 'num_epoch' (did you mean num_epochs?)"),
    (
        "learning_rate",
        "unknown field 'learning_rate' (did you mean disagreement.learning_rate or"
        " optimizer.learning_rate?)",
    ),
    ("optimizer.lr", "(did you mean optimizer.learning_rate?)"),
    ("wd", "(did you mean optimizer.weight_decay?)"),
    ("temprature", "(did you mean KD.temperature?)"),
    ("optimiser.momentum", "(did you mean optimizer.momentum?)"),
    ("DKD.bta", "(did you mean DKD.beta?)"),
    ("seed.x", "(did you mean seed?)"),
    ("teacher.xyz", "unknown field 'teacher.xyz'; known: teacher.checkpoint, teacher."),
]


@pytest.mark.parametrize(("field", "message"), FIELDS)
def test_an_unknown_field_is_answered_with_those_that_are_near(field, message):
    error = str(unknown_field(digits.get_config(), field))
    assert message in error and "\n" not in error and "\\" not in error


def test_a_field_that_is_near_none_is_answered_with_those_in_use():
    error = str(unknown_field(digits.get_config(), "xyzzy"))
    assert "known: KD.ce_weight" in error and "optimizer.momentum" in error
    assert "did you mean" not in error and "CRD" not in error


def load(path, *overrides):
    parser = config_flags.ConfigFileFlagParser(uuid.uuid4().hex)
    arguments = [f"--config={path}", *overrides]
    return load_config(parser.parse, str(path), arguments)


def test_overrides_are_those_of_fields_and_sections():
    config = load(
        "configs/digits.py:kd",
        *("--config.seed=1", "-config.KD.temperature", "--noconfig.use_labels"),
        *("--config.optimizer.decay_epochs[0]=2", "--config.KD={}", "--seeds=3"),
    )
    assert isinstance(config, ConfigDict) and config.augmentation == "none"
    for override in ("--config.lr=1", "--config.lr", "-config.lr=1", "--noconfig.lr"):
        with pytest.raises(UserError, match="unknown field 'lr'"):
            load("configs/digits.py", override)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("digit.py", None, "there is no config {}/digit.py (did you mean {}/digits.py"),
        ("x.py", None, "there is no config {}/x.py; known: {}/broken.py, {}/digits.py"),
        ("none/x.py", None, "there is no config {}/none/x.py"),
        ("broken.py", "\nx = {}['a']", "KeyError: 'a', line 2"),
        ("broken.py", "def get_config():\n  return f(1)", "NameError: name 'f' is not"),
        (
            "broken.py",
            "def get_config():\n  return int('x')",
            "ValueError: invalid",
        ),
        ("broken.py", "import nothing_such", "ModuleNotFoundError: No module named"),
        ("broken.py", "x = (", "SyntaxError: '(' was never closed"),
        ("broken.py", "x = 1", "can't be loaded: AttributeError: "),
        (
            "broken.py",
            "from da_jax.errors import UserError\n"
            "def get_config():\n  raise UserError('this way')",
            "this way",
        ),
    ],
)
def test_what_a_config_file_raises_is_a_line(tmp_path, name, content, message):
    (tmp_path / "digits.py").write_text("")
    (tmp_path / "broken.py").write_text(content or "")
    with pytest.raises(UserError) as error:
        load(tmp_path / name)
    assert message.replace("{}", str(tmp_path)) in str(error.value)
    assert "\n" not in str(error.value) and "earlier failure" not in str(error.value)
    assert (str(error.value) == "this way") == (message == "this way")
