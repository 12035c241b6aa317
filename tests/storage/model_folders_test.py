"""Model folders: what is written is read back, and damage is noticed."""

import json
import sys

import numpy as np
import pytest

from da_jax.errors import UserError
from da_jax.storage.model_folders import (
    Model,
    import_recorded,
    load_model,
    save_model,
)
from da_jax.storage.run_checkpoints import RunCheckpoint, RunCheckpoints


def model(imports=(), name="resnet8"):
    kernel = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    variables = {"params": {"fc": {"kernel": kernel}}}
    return Model(name, 100, variables, imports)


def test_round_trip_replaces_an_existing_folder(tmp_path):
    save_model(tmp_path / "model", Model("resnet20", 10, model().variables), {})
    save_model(tmp_path / "model", model(), {"dataset": "digits"})
    loaded = load_model(tmp_path / "model")
    assert (loaded.name, loaded.num_classes, loaded.imports) == ("resnet8", 100, ())
    kernel = loaded.variables["params"]["fc"]["kernel"]
    np.testing.assert_array_equal(kernel, model().variables["params"]["fc"]["kernel"])
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert "imports" not in json.loads((tmp_path / "model/model.json").read_text())


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


def test_another_folder_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="isn't a model folder"):
        save_model(tmp_path, model(), {})
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("format", ["orbax", "flax", "safetensors", "torch"])
def test_a_network_without_batch_norm_has_empty_statistics(tmp_path, format):
    if format == "torch":
        pytest.importorskip("torch")
    variables = {**model().variables, "batch_stats": {}}
    save_model(tmp_path / "model", Model("MLP", 100, variables), {}, format)
    loaded = load_model(tmp_path / "model").variables
    assert loaded["batch_stats"] == {} and loaded.keys() == variables.keys()
    np.testing.assert_array_equal(
        loaded["params"]["fc"]["kernel"], variables["params"]["fc"]["kernel"]
    )


def as_model_folder(folder, imports, name):
    save_model(folder, model(imports, name), {})


def as_run_folder(folder, imports, name):
    student = {"step": np.int32(3), **model().variables, "batch_stats": {}}
    variables = {**model().variables, "batch_stats": {}}
    checkpoints = RunCheckpoints(folder)
    checkpoints.save(RunCheckpoint(name, 100, [student], [variables], 0, [], imports))
    checkpoints.close()


@pytest.mark.parametrize("last", [False, True])
def test_a_run_of_a_network_without_batch_norm(tmp_path, last):
    as_run_folder(tmp_path, (), "MLP")
    loaded = load_model(tmp_path, last=last).variables
    assert loaded["batch_stats"] == {} and set(loaded) == {"params", "batch_stats"}


@pytest.mark.parametrize("save", [as_model_folder, as_run_folder])
def test_the_modules_of_a_network_are_imported(tmp_path, monkeypatch, save):
    name = f"networks_of_{save.__name__}"
    imports = (f"{name}.plain", f"{name}.wide")
    save(tmp_path / "model", imports, "OfOnesOwn")
    with pytest.raises(UserError) as error:
        load_model(tmp_path / "model")
    assert str(error.value) == (
        f"{tmp_path / 'model'} is saved with imports {list(imports)}, of which"
        f" {name}.plain can't be imported: No module named {name!r}; install it or"
        " start in its folder"
    )

    (tmp_path / name).mkdir()
    (tmp_path / name / "plain.py").write_text("")
    (tmp_path / name / "wide.py").write_text("raise KeyError('twice')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(UserError, match=r"wide can't be imported: 'twice'; install"):
        load_model(tmp_path / "model")

    (tmp_path / name / "wide.py").write_text("imported = True")
    assert load_model(tmp_path / "model").imports == imports
    assert sys.modules[f"{name}.wide"].imported


@pytest.mark.parametrize("save", [as_model_folder, as_run_folder])
def test_a_bundled_network_does_without_its_modules(tmp_path, save):
    save(tmp_path / "model", ("a_method_of_ones_own",), "resnet8")
    assert load_model(tmp_path / "model").imports == ("a_method_of_ones_own",)


def test_modules_are_imported_before_a_teacher_is_looked_up(tmp_path):
    save_model(tmp_path / "model", model(("a_method_of_ones_own",)), {})
    import_recorded(tmp_path / "model", "resnet8")
    with pytest.raises(UserError, match="a_method_of_ones_own can't be imported"):
        import_recorded(tmp_path / "model", "OfOnesOwn")
    import_recorded(tmp_path / "missing", "resnet8")


def test_imports_that_are_not_modules_are_refused(tmp_path):
    network = model(name="OfOnesOwn")
    save_model(tmp_path / "model", network, {"imports": [3, "..secrets"]})
    with pytest.raises(UserError, match="of which 3 can't be imported"):
        load_model(tmp_path / "model")
