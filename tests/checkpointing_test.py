"""Model folders: what is written comes back, and damage is noticed."""

import numpy as np
import pytest

from da_jax.checkpointing import Model, load_model, save_model
from da_jax.errors import UserError


def model():
    kernel = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    return Model("resnet8", 100, {"params": {"fc": {"kernel": kernel}}})


def test_round_trip_replaces_what_was_there(tmp_path):
    save_model(tmp_path / "model", Model("resnet20", 10, model().variables), {})
    save_model(tmp_path / "model", model(), {"dataset": "digits"})
    loaded = load_model(tmp_path / "model")
    assert (loaded.name, loaded.num_classes) == ("resnet8", 100)
    kernel = loaded.variables["params"]["fc"]["kernel"]
    np.testing.assert_array_equal(kernel, model().variables["params"]["fc"]["kernel"])
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_a_flipped_bit_is_noticed(tmp_path):
    save_model(tmp_path / "model", model(), {})
    folder = tmp_path / "model" / "variables"
    files = [file for file in folder.rglob("d/*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path / "model")


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="no model folder"):
        save_model(tmp_path, model(), {})
    assert (tmp_path / "thesis.tex").exists()
