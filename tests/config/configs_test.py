"""Every config and variant builds; a real step of each is a slow test."""

import dataclasses
import functools
import importlib
import itertools
from pathlib import Path

import jax
import numpy as np
import pytest
from da_jax.configs import default, teacher
from ml_collections import ConfigDict

from da_jax import configs
from da_jax.config.build import create_hyperparameters, create_task
from da_jax.config.checks import check_config
from da_jax.data import Dataset, Examples, digits
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.errors import UserError
from da_jax.models import MODELS
from da_jax.training.parallel import PmappedSteps
from da_jax.training.state import create_train_state
from tests import golden
from tests.parity import variables

FILES = sorted(path.stem for path in Path(configs.__path__[0]).glob("[!_]*.py"))
STUDENTS = [name for name in FILES if name not in ("default", "teacher")]


def variants(name):
    """Every teacher of a config file, with DA and without."""
    if name == "digits_teacher":
        return [None]
    words = importlib.import_module(f"da_jax.configs.{name}").TEACHERS
    pairs = itertools.product(words, ("da", "kd"))
    return [",".join(pair) for pair in pairs]


def load(name, variant):
    get_config = importlib.import_module(f"da_jax.configs.{name}").get_config
    return get_config() if variant is None else get_config(variant)


ALL = [(name, variant) for name in STUDENTS for variant in variants(name)] + [
    ("teacher", name) for name in MODELS
]


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_config_builds(name, variant):
    config = load(name, variant)
    check_config(config)
    assert config.optimizer.learning_rate == 0.05
    if name == "teacher":
        assert config.student == variant and config.num_epochs == 240
    elif variant is not None:
        word, augmentation = variant.split(",")
        assert config.teacher.model == word
        assert config.augmentation == default.AUGMENTATIONS[augmentation]


def test_runs_of_different_variants_have_different_folders():
    names = [load(name, variant).name for name, variant in ALL]
    names += [load("ShuffleV2", "kd,lr0.01").name]
    names += [load("ShuffleV2", f"later,{word}").name for word in ("da", "kd")]
    assert len(set(names)) == len(names)


def test_words_of_a_variant_come_in_any_order():
    one = load("resnet20", "resnet110,kd,lr0.01")
    assert one.to_dict() == load("resnet20", "lr0.01,kd,resnet110").to_dict()
    assert (one.teacher.model, one.optimizer.learning_rate) == ("resnet110", 0.01)


@pytest.mark.parametrize(
    ("variant", "method", "augmentation", "name"),
    [
        ("later", "KD", "disagreement", "resnet56_resnet20_da_later"),
        ("later,kd,resnet110", "KD", "none", "resnet110_resnet20_kd_later"),
        ("MLKD,later", "MLKD", "disagreement", "resnet56_resnet20_MLKD_da_later"),
        ("lr0.01,later", "KD", "disagreement", "resnet56_resnet20_da_lr0.01_later"),
    ],
)
def test_later_sets_the_original_s_later_settings(variant, method, augmentation, name):
    config = load("resnet20", variant)
    check_config(config)
    assert (config.name, config.method) == (name, method)
    assert config.augmentation == augmentation
    section = config[method]
    assert section.logit_standardization and section.temperature == 2
    assert (section.ce_weight, section.kd_weight) == (0.1, 9)
    ascent = config.disagreement
    assert (ascent.divergence, ascent.steps) == ("kl", 1)
    assert ascent.logit_standardization
    assert not (ascent.update_batch_stats or ascent.reduce_on_plateau)
    assert (ascent.learning_rate, ascent.probability) == (0.00192, 0.268)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("vgg13", "unknown variant 'vgg13'; known: resnet56, resnet110, KD, DKD"),
        ("da,kd", "both da and kd"),
        ("resnet56,resnet110", "both resnet56 and resnet110"),
        (
            "later,DKD",
            "later and DKD, .* settings are of KD and MLKD; use one of these",
        ),
    ],
)
def test_variants_that_cannot_be_meant(variant, message):
    with pytest.raises(UserError, match=message):
        load("resnet20", variant)
    with pytest.raises(UserError, match="which architecture"):
        teacher.get_config()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), ALL)
def test_one_step_of_every_config(name, variant):
    config = load(name, variant)
    config.disagreement.probability = 1.0
    _, arrays = golden.load("training")
    examples = Examples(arrays["images"][:2], arrays["labels"][:2])
    dataset = Dataset(examples, lambda: examples, 100, PREPROCESSING)
    if config.dataset == "digits":
        dataset = digits.load()
    steps = PmappedSteps(create_task(config, dataset), devices=jax.devices()[:1])
    teacher = None
    if config.teacher.model:
        teacher = variables(config.teacher.model, 2, np.float32)
        if config.dataset == "digits":
            fc = teacher["params"]["fc"]
            teacher["params"]["fc"] = {k: leaf[..., :10] for k, leaf in fc.items()}
    hyperparameters = create_hyperparameters(config, 1)
    before = steps.create_train_states(0, hyperparameters)
    (kept,) = steps.students(before)
    after, _ = steps.train_steps(
        before,
        steps.replicate(teacher),
        steps.replicate(dataset.train),
        steps.epoch_orders(before, 1, len(dataset.train.labels)),
        0,
        1,
        steps.replicate_students([hyperparameters]),
        2,
    )
    (metrics,) = steps.mean_metrics(tuple(s.metrics for s in after))
    assert np.isfinite(metrics["loss"])
    (moved,) = steps.students(after)
    assert moved.step == 1
    changed = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), kept.params, moved.params
    )
    assert all(jax.tree.leaves(changed))
    jax.clear_caches()  # as in conftest: these are too many for one module


def test_a_method_is_a_word_with_the_pair_s_values():
    config = load("resnet20", "DKD,none")
    assert (config.method, config.augmentation, config.DKD.beta) == ("DKD", "none", 2.0)
    assert config.name == "resnet56_resnet20_DKD_none"
    config = load("resnet8x4", "pgd,ReviewKD")
    assert (config.method, config.augmentation) == ("ReviewKD", "pgd")
    assert config.ReviewKD.review_weight == 5.0
    assert load("resnet8x4", "wrn_40_2").ReviewKD.review_weight == 1.0


def test_ints_in_a_user_s_section_are_traced_floats():
    config = load("digits", "kd")
    reference = create_hyperparameters(config, 1).method
    config.KD = ConfigDict({"kd_weight": 1, "temperature": 4})
    found = create_hyperparameters(config, 1).method
    assert found == reference | {"kd_weight": 1.0}
    assert {type(value) for value in found.values()} == {float}
    task = create_task(config, load_shapes())
    assert task == create_task(load("digits", "kd"), load_shapes())


def test_without_labels_the_cross_entropy_has_no_weight():
    config = load("digits", "kd")
    with_labels = create_hyperparameters(config, 1).method
    config.use_labels = False
    assert with_labels["ce_weight"] > 0
    found = create_hyperparameters(config, 1).method
    assert found == with_labels | {"ce_weight": 0.0}


REFUSED = {
    *(
        (student, teacher, "KDSVD")  # the student's stages are smaller
        for student in ("MobileNetV2", "ShuffleV1", "ShuffleV2")
        for teacher in ("vgg13", "ResNet50", "wrn_40_2", "resnet32x4")
    ),
    ("MobileNetV2", "wrn_40_2", "ReviewKD"),  # four stages and three
}
"""Student, teacher and method that don't go together."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in STUDENTS if n != "digits_teacher"])
def test_every_method_fits_every_pair_or_says_why_not(name):
    dataset = load_shapes()
    for teacher_name in importlib.import_module(f"da_jax.configs.{name}").TEACHERS:
        for method in default.methods():
            config = load(name, f"{teacher_name},{method}")
            task = create_task(config, dataset)
            task = dataclasses.replace(task, axis_name=None)
            create = functools.partial(create_train_state, task, 0)
            if (name, teacher_name, method) in REFUSED:
                with pytest.raises(UserError, match=f"method {method}"):
                    jax.eval_shape(create)
            else:
                jax.eval_shape(create)


def load_shapes():
    """CIFAR-100's shapes: nothing is looked at but them."""
    few = Examples(np.zeros((8, 32, 32, 3), np.uint8), np.zeros(8, np.int32))
    return Dataset(few, lambda: few, 100, PREPROCESSING)
