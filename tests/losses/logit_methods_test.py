"""Every loss of logits and its gradients equal those of the authors' code."""

import functools
import inspect
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax import losses
from tests import golden

REPOSITORY = Path(__file__).parent.parent.parent
DESCRIPTION, GRADIENTS = golden.logit_methods()
BATCH_SIZE, CLASSES = 8, 100
TOLERANCE = 1e-9

LOSSES = {
    "DIST": losses.dist,
    "NKD": losses.nkd,
    "TTM": losses.ttm,
    "WTTM": losses.wttm,
    "CTKD": losses.kd,
    "RLD": losses.rld,
    "WKD_L": losses.wkd_l,
    "SDD_KD": losses.sdd_kd,
    "SDD_DKD": losses.sdd_dkd,
    "SDD_NKD": losses.sdd_nkd,
    "SLD": losses.sld,
    "CRLD": losses.crld,
}

OPTIONS = {
    "temperature": "temperature",
    "ALPHA_T": "alpha_temperature",
    "TAU_W": "tau_w",
    "TAU_S": "tau_s",
}
"""Our names of the hyperparameters that cases vary."""

NKD_CLASS_DEFAULT = {"temperature": 1.0, "gamma": 1.5}

TERMS = {"loss_cls": "loss_ce", "loss_div": "loss_kd"}
"""Our names of CTKD's terms."""


def drawn(method, what, shape=(BATCH_SIZE, CLASSES)):
    return golden.logits_rng(f"101:{method}:{what}").standard_normal(shape)


def regions_of(network, scale, cells_per_side):
    """A network's logits of the whole image and of the cells of its grids."""
    image = drawn("SDD", f"{network}:image", (BATCH_SIZE, CLASSES, 1, 1))
    whole_map = scale * (
        image + drawn("SDD", f"{network}:cell", (*image.shape[:2], 4, 4))
    )
    grids = []
    for side in cells_per_side:
        split = whole_map.reshape(BATCH_SIZE, CLASSES, side, 4 // side, side, 4 // side)
        grids.append(split.mean(axis=(3, 5)).reshape(BATCH_SIZE, CLASSES, -1))
    return np.concatenate(grids, axis=-1)


def prototypes():
    return drawn("WKD_L", "prototypes", (CLASSES, 64))


def inputs_of(method, case):
    """The loss's arrays by argument, and the arguments that gradients are by."""
    if method.startswith("SDD"):
        sides = (1, 2, 4) if case.startswith("M124") else (1, 2)
        student, teacher = (
            regions_of("student", 3, sides),
            regions_of("teacher", 5, sides),
        )
        arrays = {
            "student_logits": student[..., 0],
            "teacher_logits": teacher[..., 0],
            "student_regions": student,
            "teacher_regions": teacher,
        }
        return arrays, {"student": "student_logits", "regions": "student_regions"}
    if method in ("SLD", "CRLD"):
        arrays = {
            "student_logits": 3 * drawn(method, "student_weak"),
            "teacher_logits": 5 * drawn(method, "teacher_weak"),
            "student_strong": 3 * drawn(method, "student_strong"),
            "teacher_strong": 5 * drawn(method, "teacher_strong"),
        }
        names = {"student_weak": "student_logits", "student_strong": "student_strong"}
        return arrays, names
    arrays = {
        "student_logits": 3 * drawn(method, "student"),
        "teacher_logits": 5 * drawn(method, "teacher"),
    }
    if method == "WKD_L":
        arrays["cost_matrix"] = losses.classifier_cost_matrix(prototypes())
    return arrays, {"student": "student_logits"}


def relative_error(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@functools.cache
def compiled(method):
    """Maps the arrays, labels and options to the gradients, and the terms."""

    def total(arrays, labels, options):
        others = dict(arrays)
        logits = others.pop("student_logits"), others.pop("teacher_logits")
        terms = LOSSES[method](*logits, labels, **others, **options)
        return sum(terms.values()), terms

    return jax.jit(jax.grad(total, has_aux=True))


@pytest.mark.parametrize(
    ("method", "case"),
    [(method, case) for method in LOSSES for case in DESCRIPTION["methods"][method]],
)
def test_losses_and_gradients_equal_the_authors(x64, method, case):
    expected = DESCRIPTION["methods"][method][case]
    arrays, names = inputs_of(method, case)
    options = {
        ours: expected[name] for name, ours in OPTIONS.items() if name in expected
    }
    options |= NKD_CLASS_DEFAULT if case.startswith("class_default") else {}
    if expected["epoch"] is not None and method not in ("CTKD", "SDD_KD"):
        options["epoch"] = expected["epoch"]
    labels = jnp.array(expected["labels"])
    gradients, terms = compiled(method)(arrays, labels, options)
    assert terms.keys() == {TERMS.get(term, term) for term in expected["losses"]}
    for term, value in expected["losses"].items():
        found = float(terms[TERMS.get(term, term)])
        assert found == pytest.approx(value, rel=TOLERANCE, abs=0), term
    for name, (key, factor) in expected["gradients"].items():
        reference = factor * GRADIENTS[key]
        assert relative_error(gradients[names[name]], reference) < TOLERANCE, name


def test_every_case_and_every_gradient_is_used():
    assert LOSSES.keys() == DESCRIPTION["methods"].keys()
    used = {
        key
        for cases in DESCRIPTION["methods"].values()
        for case in cases.values()
        for key, _ in case["gradients"].values()
    }
    assert used == GRADIENTS.keys()


def test_costs_of_a_classifier_equal_the_authors(x64):
    costs = np.asarray(losses.classifier_cost_matrix(prototypes()))
    expected = DESCRIPTION["cost_matrix"]
    assert costs.shape == (CLASSES, CLASSES)
    assert costs.mean() == pytest.approx(expected["mean"], rel=1e-12)
    assert costs.max() == pytest.approx(expected["max"], rel=1e-12)
    np.testing.assert_allclose(costs[0, :4], expected["first_row"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(costs, costs.T, rtol=0, atol=1e-14)


OTHERS = {
    "wkd_l": lambda logits: {"cost_matrix": 1 - jnp.eye(logits.shape[-1])},
    **{
        name: lambda logits: {
            "student_regions": jnp.stack([logits, 2 * logits], axis=-1),
            "teacher_regions": jnp.stack([logits, -logits], axis=-1),
        }
        for name in ("sdd_kd", "sdd_dkd", "sdd_nkd")
    },
    **{
        name: lambda logits: {"student_strong": logits, "teacher_strong": -logits}
        for name in ("mlkd", "sld", "crld")
    },
}
"""The further arrays of a loss."""

ALL = {"kd": losses.kd, "dkd": losses.dkd, "mlkd": losses.mlkd}
ALL |= {name.lower(): loss for name, loss in LOSSES.items() if name != "CTKD"}


def call(name, student, teacher, labels, **options):
    """A loss after its warm-up, with SLD's second target."""
    loss = ALL[name]
    if "epoch" in inspect.signature(loss).parameters:
        options = {"epoch": 200.0, **options}
    others = OTHERS.get(name, lambda logits: {})(student)
    return sum(loss(student, teacher, labels, **others, **options).values())


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_for_equal_certain_and_wrong_logits(name):
    labels = jnp.array([0, 1, 2, 3])
    certain = 60.0 * jnp.eye(4, 5)  # the float32 softmax has zeros
    logits = [jnp.zeros((4, 5)), certain, -certain]
    gradient = jax.jit(jax.value_and_grad(functools.partial(call, name)))
    for student in logits:
        for teacher in logits:
            loss, of_student = gradient(student, teacher, labels)
            assert jnp.isfinite(loss) and jnp.all(jnp.isfinite(of_student))


@pytest.mark.parametrize("name", ALL)
def test_hyperparameters_may_be_traced(name):
    parameters = inspect.signature(ALL[name]).parameters.values()
    scalars = {p.name: p.default for p in parameters if isinstance(p.default, float)}
    rng = np.random.default_rng(0)
    student, teacher = jnp.asarray(rng.normal(size=(2, 4, 5)), jnp.float32)
    logits = student, teacher, jnp.array([0, 1, 2, 3])
    traced = jax.jit(lambda scalars: call(name, *logits, **scalars))(scalars)
    assert len(scalars) >= 3
    np.testing.assert_allclose(traced, call(name, *logits), rtol=1e-5)


def test_rld_s_label_below_all_others_leaves_the_confidence_alone(x64):
    student, teacher = jnp.array([[0.0, 2.0, 1.0]]), jnp.array([[-1.0, 3.0, 0.0]])
    alone, both = (
        losses.rld(student, teacher, jnp.array([0]), beta=beta, epoch=20)["loss_kd"]
        for beta in (0.0, 8.0)
    )
    assert alone > 0 and alone == both


def test_standardised_sdd_ignores_the_scale_of_logits(x64):
    labels = jnp.arange(4)
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)))
    regions = jnp.stack([logits, logits**2], axis=-1)
    terms = losses.logit_standardization(losses.sdd_kd)(
        logits,
        3 * logits,
        labels,
        student_regions=regions,
        teacher_regions=3 * regions,
    )
    assert abs(terms["loss_kd"]) < 1e-9


MISTAKES = r"""
import jax.numpy as jnp
from da_jax import losses
x, labels, costs = jnp.ones((4, 3)), jnp.zeros(4, int), jnp.ones((3, 3))
regions, strong = jnp.ones((4, 3, 2)), {"student_strong": x}
STANDARD = losses.logit_standardization(losses.nkd)
NETWORKS = "the student's logits are [4, 3], the teacher's {} and the labels [4]; they"
SHAPES = {
    "[4, 2]": lambda: losses.dist(x, x[:, :2], labels),
    "[3, 3]": lambda: losses.nkd(x, x[:3], labels),
    "[4]": lambda: losses.ttm(x, x[:, 0], labels),
    "[2, 3]": lambda: losses.wttm(x, x[:2], labels),
    "[1, 3]": lambda: losses.rld(x, x[:1], labels),
    "[4, 1]": lambda: losses.wkd_l(x, x[:, :1], labels, cost_matrix=costs),
    "[2, 1]": lambda: losses.sld(x, x, labels, **strong, teacher_strong=x[:2, :1]),
    "[3, 1]": lambda: losses.crld(x, x, labels, **strong, teacher_strong=x[:3, :1]),
}
CALLS = {
    **{NETWORKS.format(shape): call for shape, call in SHAPES.items()},
    "the cost matrix is [2, 3] and there are 3 classes; it must be [K, K]": lambda: (
        losses.wkd_l(x, x, labels, cost_matrix=costs[:2])
    ),
    "the student's regions are [4, 3, 2] and the teacher's [4, 3, 1], with logits"
    " [4, 3]; they must be [B, K, N], with logits [B, K]": lambda: losses.sdd_kd(
        x, x, labels, student_regions=regions, teacher_regions=regions[..., :1]
    ),
    "the student's regions are [3, 3, 2] and the teacher's [3, 3, 2], with": lambda: (
        losses.sdd_dkd(
            x, x, labels, student_regions=regions[:3], teacher_regions=regions[:3]
        )
    ),
    "the student's regions are [4, 3] and the teacher's [4, 3], with": lambda: (
        losses.sdd_nkd(x, x, labels, student_regions=x, teacher_regions=x)
    ),
    "the loss has the terms loss_ce, loss_nkd; logit standardization needs": lambda: (
        STANDARD(x, x, labels)
    ),
}
for expected, call in CALLS.items():
    message = "no error"
    try:
        call()
    except ValueError as error:
        message = str(error)
    assert expected in message and "\n" not in message, (expected, message)
print(len(CALLS))
"""


def test_wrong_arguments_are_one_clear_sentence():
    """In a process without the tests' type checker, which would complain first."""
    done = subprocess.run(
        [sys.executable, "-c", MISTAKES], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 13
