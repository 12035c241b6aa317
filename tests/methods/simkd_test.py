"""SimKD: steps equal to torch's, and the teacher's classifier wherever it goes."""

import functools
from pathlib import Path

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from da_jax.convert.state_dict import to_numpy_state_dict

from da_jax.augmentations import Augmented
from da_jax.commands.evaluate import evaluate
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.errors import UserError
from da_jax.methods import create_method
from da_jax.models import MODELS, create_model, is_model, reusing, without_reused
from da_jax.models.forward import eval_mode, initialize
from da_jax.storage.files import read_json
from da_jax.storage.model_folders import Model, load_model, save_model
from da_jax.training import step
from da_jax.training.state import Task, create_train_state
from tests import golden
from tests.commands.main_test import main
from tests.golden import weights
from tests.parity import relative_error, torch_resnet, variables
from tests.training.step_test import given_batch, scalars, update

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional

STUDENT, TEACHER = "resnet8", "resnet8x4"
STEPS, BATCH_SIZE = 3, 8
FLOAT64 = {"dtype": jnp.float64, "precision": "highest"}
PROJECTOR = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")


def torch_golden(name, seed):
    description, _ = golden.load("models")
    state_dict = weights.state_dict(description[name]["shapes"], seed)
    return torch_resnet(
        name, {key: np.asarray(leaf, np.float64) for key, leaf in state_dict.items()}
    )


def torch_projector(student_width, teacher_width):
    widths = [student_width, teacher_width // 2, teacher_width // 2, teacher_width]
    layers = []
    for index, size in enumerate((1, 3, 1)):
        inputs, outputs = widths[index : index + 2]
        layers.append(nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers).double()


def projector_arrays(variables):
    """Our projector's arrays in the order of PyTorch's state dict."""
    for name in PROJECTOR:
        params = variables["params"]["projector"][name]
        if "kernel" in params:
            yield params["kernel"].transpose(3, 2, 0, 1)
            continue
        statistics = variables["batch_stats"]["projector"][name]
        yield from (params["scale"], params["bias"])
        yield from (statistics["mean"], statistics["var"])


def backbone_arrays(variables):
    """Our backbone's arrays in the order of PyTorch's state dict."""
    part = {name: variables[name]["backbone"] for name in ("params", "batch_stats")}
    fc = {"kernel": jnp.zeros((64, 100)), "bias": jnp.zeros(100)}
    part["params"] = {**part["params"], "fc": fc}
    arrays = to_numpy_state_dict(STUDENT, jax.device_get(part))
    keys = golden.load("models")[0][STUDENT]["shapes"]
    return [
        arrays[key] for key in keys if not key.startswith("fc.") and "num_ba" not in key
    ]


def without_counts(module):
    """The arrays of a PyTorch module, and nothing that counts batches."""
    return [
        leaf for key, leaf in module.state_dict().items() if "num_batches" not in key
    ]


def torch_images(images):
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)


class TorchSimKD:
    """Three steps of SimKD by its authors' formula."""

    def __init__(self, projector):
        self.body = torch_golden(STUDENT, 1)[:-3].train().requires_grad_()
        self.projector = torch_projector(64, 256)
        with torch.no_grad():
            for leaf, value in zip(
                without_counts(self.projector), projector, strict=True
            ):
                leaf.copy_(torch.from_numpy(np.array(value)))
        teacher = torch_golden(TEACHER, 2)
        self.teacher, self.classifier = teacher[:-3], teacher[-1]
        self.optimizer = torch.optim.SGD(
            [*self.body.parameters(), *self.projector.parameters()],
            0.05,
            momentum=0.9,
            weight_decay=5e-4,
        )

    def step(self, images):
        """Takes a step, and returns the loss before it."""
        projected = self.projector(self.body(torch_images(images)))
        loss = functional.mse_loss(projected, self.teacher(torch_images(images)))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def logits(self, images):
        projected = self.projector.eval()(self.body.eval()(torch_images(images)))
        return self.classifier(projected.mean(dim=(2, 3))).numpy()


def test_steps_and_predictions_equal_torch_s(x64):
    _, arrays = golden.load("training")
    student = create_model(reusing(STUDENT, TEACHER), **FLOAT64)
    task = Task(
        student=student,
        teacher=create_model(TEACHER, **FLOAT64),
        method=create_method("SimKD", **FLOAT64),
        preprocessing=PREPROCESSING,
        dtype=jnp.float64,
    )
    teacher = variables(TEACHER, 2, jnp.float64)
    state = jax.jit(functools.partial(create_train_state, task))(0)
    backbone = variables(STUDENT, 1, jnp.float64)
    del backbone["params"]["fc"]
    state = state.replace(
        params={**state.params, "backbone": backbone["params"]},
        batch_stats={**state.batch_stats, "backbone": backbone["batch_stats"]},
    )
    assert state.params.keys() == {"backbone", "projector"}
    state = step.with_teacher_classifier(task, teacher, state)
    reference = TorchSimKD(list(projector_arrays(state.variables)))

    @jax.jit
    def take_step(state, images, labels):
        augmented = Augmented(given_batch(images, labels), state.batch_stats, {})
        return update(task, teacher, state, augmented, scalars({"feat_weight": 1.0}))

    for start in range(0, STEPS * BATCH_SIZE, BATCH_SIZE):
        images = jnp.asarray(arrays["images"][start : start + BATCH_SIZE])
        images = PREPROCESSING.normalize(images, jnp.float64)
        labels = jnp.asarray(arrays["labels"][start : start + BATCH_SIZE])
        state, metrics = take_step(state, images, labels)
        assert {"loss_kd"} == {name for name in metrics if name.startswith("loss_")}
        loss = reference.step(images)
        assert float(metrics["loss"].compute()) == pytest.approx(loss, rel=1e-8)
    for module, found in (
        (reference.body, backbone_arrays(state.variables)),
        (reference.projector, projector_arrays(state.variables)),
    ):
        for expected, leaf in zip(without_counts(module), found, strict=True):
            assert relative_error(leaf, expected.detach().numpy()) < 1e-7
    logits = jax.jit(functools.partial(eval_mode, student))(state.variables, images)
    assert relative_error(logits.logits, reference.logits(images)) < 1e-7


@pytest.mark.parametrize(
    ("student", "teacher", "size"),
    [("resnet8", "vgg8", 4), ("ShuffleV2", "resnet8x4", 4), ("vgg8", "ResNet18", 4)],
)
def test_maps_have_the_smaller_size_and_the_teacher_s_width(student, teacher, size):
    networks = create_model(reusing(student, teacher), 10), create_model(teacher, 10)
    images = jnp.zeros((2, 32, 32, 3))

    def maps():
        return [
            network.init_with_output(jax.random.key(0), images)[0][1]["last_map"]
            for network in networks
        ]

    of_student, of_teacher = jax.eval_shape(maps)
    assert of_student.shape == (2, size, size, of_teacher.shape[-1])


def test_names_of_reused_classifiers():
    name = reusing("resnet8", "resnet20")
    assert name == "resnet8+resnet20" and without_reused(name) == "resnet8"
    assert is_model(name) and is_model("resnet8")
    assert not is_model("resnet8+nothing") and not is_model("+resnet8")
    with pytest.raises(UserError, match="unknown model 'nothing'"):
        create_model("resnet8+nothing")


class PlainNetwork(flax.linen.Module):
    num_classes: int = 10

    @flax.linen.compact
    def __call__(self, images):
        return flax.linen.Dense(self.num_classes)(images.reshape(len(images), -1))


def test_plain_networks_have_no_maps_to_reuse(monkeypatch):
    monkeypatch.setitem(MODELS, "MLP", PlainNetwork)
    for name in ("MLP+resnet8", "resnet8+MLP"):
        with pytest.raises(UserError, match="MLP returns no feature maps, which"):
            create_model(name)


@pytest.mark.parametrize("format", ["safetensors", "torch", "flax"])
def test_folders_of_reused_classifiers_are_read_back_exactly(tmp_path, format):
    network = create_model("resnet8+resnet20", 10)
    made = jax.device_get(
        jax.jit(functools.partial(initialize, network))(
            jax.random.key(0), jnp.zeros((1, 32, 32, 3))
        )
    )
    save_model(tmp_path / "model", Model("resnet8+resnet20", 10, made), {}, format)
    loaded = load_model(tmp_path / "model")
    assert loaded.name == "resnet8+resnet20"
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, made)


def run(workdir, *fields):
    done = main(
        *fields,
        *(f"--workdir={workdir}", "--config.num_epochs=1", "--config.batch_size=360"),
        "--config.optimizer.decay_epochs=(1,)",
    )
    assert done.returncode == 0, done.stderr
    return read_json(workdir / "results.json")


def test_a_run_s_student_has_the_teacher_s_classifier_and_may_teach(tmp_path):
    first = tmp_path / "first"
    results = run(first, "--config=configs/digits.py:SimKD")
    model = load_model(first / "best")
    assert model.name == "resnet8+resnet20"
    classifier = load_model(Path("checkpoints/digits_resnet20")).variables["params"][
        "fc"
    ]
    jax.tree.map(
        np.testing.assert_array_equal,
        model.variables["batch_stats"]["classifier"],
        classifier,
    )
    top1 = results["best"]["test_top1"]
    for name in ("resnet8", "resnet8+resnet20"):
        figures = evaluate(name, first, "digits", data_dir=tmp_path)
        assert figures["top1"] == pytest.approx(top1, abs=0.01)
    second = run(
        tmp_path / "second",
        *("--config=configs/digits.py:kd", "--config.teacher.model=resnet8+resnet20"),
        f"--config.teacher.checkpoint={first / 'best'}",
    )
    assert second["teacher"]["test_top1"] == pytest.approx(top1, abs=0.01)
