"""Fine-tuning: what a student starts from, and which folders are refused."""

import flax.traverse_util
import jax
import numpy as np
import pytest
from da_jax.configs import default, digits

from da_jax.config.build import build_run, load_data, load_teacher
from da_jax.config.prerequisites import check_prerequisites
from da_jax.errors import UserError
from da_jax.models import create_model
from da_jax.models.forward import eval_mode
from da_jax.storage.model_folders import Model, save_model
from da_jax.storage.run_checkpoints import RunCheckpoint, RunCheckpoints
from tests.parity import variables

CLASSIFIER = ("params", "fc")


def create_run(folder, tmp_path, **fields):
    config = default.create_teacher("resnet8")
    config.dataset, config.eval_batch_size = "digits", 360
    config.init_checkpoint = str(folder)
    config.update_from_flattened_dict(fields)
    dataset = load_data(config)
    return build_run(config, tmp_path, dataset, load_teacher(config, dataset))


def trained(num_classes=10):
    """Weights of resnet8 that aren't an initialisation's."""
    made = jax.device_get(variables("resnet8", 3, np.float32))
    classifier = made["params"]["fc"]
    made["params"]["fc"] = {
        k: leaf[..., :num_classes] for k, leaf in classifier.items()
    }
    return made


def leaves(tree):
    return flax.traverse_util.flatten_dict(jax.device_get(tree))


def first_student(run):
    states = run.steps.create_train_states(0, run.hyperparameters, run.start)
    (student,) = run.steps.students(states)
    return student


def save_as_run(folder, weights):
    checkpoints = RunCheckpoints(folder)
    student = {"step": np.int32(3), **trained(), "ema": weights}
    checkpoints.save(RunCheckpoint("resnet8", 10, [student], [weights], 0, []))
    checkpoints.close()


@pytest.mark.parametrize("kind", ["model", "run"])
def test_a_student_starts_with_the_checkpoint_s_logits(tmp_path, kind):
    weights = trained()
    if kind == "model":
        save_model(tmp_path / "start", Model("resnet8", 10, weights), {})
    else:
        save_as_run(tmp_path / "start", weights)
    run = create_run(tmp_path / "start", tmp_path, ema_decay=0.9)
    student = first_student(run)
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    network = create_model("resnet8", 10)
    expected = eval_mode(network, weights, images).logits
    for found in (student.variables, student.eval_variables):
        logits = eval_mode(network, found, images).logits
        np.testing.assert_array_equal(logits, expected)


def test_a_classifier_of_other_classes_is_new_and_all_else_is_kept(tmp_path):
    save_model(tmp_path / "start", Model("resnet8", 100, trained(100)), {})
    run = create_run(tmp_path / "start", tmp_path)
    found, stored = leaves(first_student(run).variables), leaves(trained(100))
    fresh = run.steps.create_train_state(0, run.hyperparameters)
    initialized = leaves(fresh.variables)
    assert found.keys() == stored.keys()
    for path, leaf in found.items():
        is_new = path[:2] == CLASSIFIER
        expected = initialized[path] if is_new else stored[path]
        np.testing.assert_array_equal(leaf, expected)


def change(weights, *, missing=(), extra=(), narrow=()):
    flat = flax.traverse_util.flatten_dict(weights, sep="/")
    changed = {name: leaf for name, leaf in flat.items() if name not in missing}
    changed |= {name: np.zeros(2, np.float32) for name in extra}
    changed |= {name: flat[name][..., :3] for name in narrow}
    return flax.traverse_util.unflatten_dict(changed, sep="/")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"missing": ["params/fc/bias"]},
            "doesn't fit resnet8: it lacks params/fc/bias$",
        ),
        (
            {"missing": ["params/fc/bias"], "extra": ["params/head/scale"]},
            "it lacks params/fc/bias; has the extra params/head/scale$",
        ),
        (
            {"narrow": ["params/bn1/bias"]},
            r"it has params/bn1/bias \[3\] instead of \[16\]$",
        ),
        (
            {"extra": [f"params/new_{number}/scale" for number in range(5)]},
            "new_0/scale, params/new_1/scale, params/new_2/scale, 2 more$",
        ),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_in_one_line(tmp_path, changes, message):
    weights = change(trained(), **changes)
    save_model(tmp_path / "start", Model("resnet8", 10, weights), {})
    with pytest.raises(UserError, match=message) as error:
        create_run(tmp_path / "start", tmp_path)
    assert "\n" not in str(error.value)


def test_another_architecture_is_refused():
    with pytest.raises(UserError, match=r"a resnet20, but config.student is"):
        create_run("checkpoints/digits_resnet20", None)


def test_a_missing_folder_is_named(tmp_path):
    config = digits.get_config()
    config.init_checkpoint = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="nowhere', which isn't a folder; give"):
        check_prerequisites(config)
