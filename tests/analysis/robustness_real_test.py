"""Attacks on a real network, compared with the Adversarial Robustness Toolbox's.

Skipped unless `DA_JAX_TEST_DATA` names the folder that `real_data_test.py` describes;
the comparison also needs `pip install adversarial-robustness-toolbox`, seen with 1.20.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from da_jax.convert import convert_state_dict

from da_jax.analysis.pretrained import Pretrained
from da_jax.analysis.robustness import measurements
from da_jax.analysis.robustness.measurements import Comparison, NamedNetwork
from da_jax.analysis.robustness.settings import Settings
from da_jax.data import Examples
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.data.cifar_archive import read_archive
from da_jax.models import create_model
from tests import parity
from tests.commands.real_data_test import DATA, pytestmark

__all__ = ["pytestmark"]

torch = pytest.importorskip("torch")

NUM_IMAGES = 500
BUDGETS = (1, 2)
ITERATIONS = 20


def state_dict(name):
    weights = torch.load(DATA / f"cifar100_{name}.pth", weights_only=True)
    return {key: tensor.numpy() for key, tensor in weights.items()}


def network(name):
    variables = convert_state_dict(name, state_dict(name))
    network = Pretrained(Path(name), name, 100, create_model(name), variables)
    return NamedNetwork(name, network, PREPROCESSING)


@pytest.fixture(scope="module")
def examples():
    test = read_archive(DATA / "cifar-100-binary").test
    return Examples(test.images, test.fine)


def test_before_the_first_step_accuracies_are_the_networks_own(examples):
    settings = Settings(steps=0)
    student, teacher = network("resnet20"), network("resnet56")
    comparison = Comparison([student], teacher, examples, settings)
    curves = measurements.measure_disagreement(comparison)["resnet20"]
    assert curves["student"] == [pytest.approx(68.83, abs=0.02)]
    assert curves["teacher"] == [pytest.approx(72.61, abs=0.02)]


@pytest.fixture(scope="module")
def ours(examples):
    """resnet20's accuracies by attack, for each budget."""
    settings = Settings(budgets=BUDGETS, iterations=ITERATIONS)
    examples = Examples(*(array[:NUM_IMAGES] for array in examples))
    comparison = Comparison([], network("resnet20"), examples, settings)
    return measurements.measure_attacks(comparison)["resnet20"]


def test_apgd_is_no_weaker_than_pgd_and_a_larger_budget_no_safer(ours):
    print(ours)
    for values in ours.values():
        assert values == sorted(values, reverse=True)
    for pgd, apgd in zip(ours["PGD"], ours["APGD-CE"], strict=True):
        assert apgd <= pgd + 0.2


class OfPixels(torch.nn.Module):
    """Returns resnet20 with its normalisation, for images in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.network = parity.torch_resnet("resnet20", state_dict("resnet20"))
        shape = (3, 1, 1)
        self.mean = torch.tensor(PREPROCESSING.mean).view(shape)
        self.std = torch.tensor(PREPROCESSING.std).view(shape)

    def forward(self, pixels):
        return self.network((pixels - self.mean) / self.std)


@pytest.mark.skipif(
    importlib.util.find_spec("art") is None,
    reason="adversarial-robustness-toolbox isn't installed",
)
def test_accuracies_are_those_of_the_adversarial_robustness_toolbox(examples, ours):
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    images = np.float32(examples.images[:NUM_IMAGES].transpose(0, 3, 1, 2)) / 255
    labels = examples.labels[:NUM_IMAGES]
    model = OfPixels()
    classifier = PyTorchClassifier(
        model,
        loss=torch.nn.functional.cross_entropy,
        input_shape=images.shape[1:],
        nb_classes=100,
        clip_values=(0, 1),
        device_type="cpu",
    )
    torch.manual_seed(0)
    np.random.seed(0)

    def accuracy(attack):
        attacked = torch.from_numpy(attack.generate(images, labels))
        with torch.no_grad():
            predicted = model(attacked).argmax(dim=1).numpy()
        return 100 * np.mean(predicted == labels)

    options = {"norm": np.inf, "batch_size": 100, "verbose": False}
    for index, budget in enumerate(BUDGETS):
        epsilon = budget / 255
        fgsm = evasion.FastGradientMethod(
            classifier, norm=np.inf, eps=epsilon, batch_size=100
        )
        pgd = evasion.ProjectedGradientDescent(
            classifier,
            eps=epsilon,
            eps_step=2.5 * epsilon / ITERATIONS,
            max_iter=ITERATIONS,
            num_random_init=1,
            **options,
        )
        apgd = evasion.AutoProjectedGradientDescent(
            classifier,
            eps=epsilon,
            eps_step=2 * epsilon,
            max_iter=ITERATIONS,
            nb_random_init=1,
            loss_type="cross_entropy",
            **options,
        )
        theirs = [accuracy(attack) for attack in (fgsm, pgd, apgd)]
        found = [values[index] for values in ours.values()]
        print(f"{budget}/255: FGSM, PGD, APGD-CE of ART {theirs}, ours {found}")
        assert found[:2] == pytest.approx(theirs[:2], abs=0.5)
        assert found[2] <= theirs[2] + 0.5
