"""Commands take architecture and data set from the folders of networks."""

import json
import shutil

import jax
import numpy as np
import pytest

from da_jax.models import create_model
from da_jax.storage.model_folders import Model, save_model
from tests.command_runs import run_all

TEACHER = "checkpoints/digits_resnet20"
STORED = "tests/stored/version_0"
EVALUATE = ("da_jax.evaluate", "--checkpoint")
ROBUSTNESS = (
    *("da_jax.robustness", "--only=corruptions", "--num_images=8", "--no_figure"),
    *(f"--teacher=t={TEACHER}", "--output={output}/robustness"),
)
VISUALIZE = (
    *("da_jax.visualize", "--only=per_class", f"--teacher={TEACHER}"),
    "--output={output}/pictures",
)


def own_network():
    """The architecture and data set that examples/own_method.py adds."""
    from examples import own_method

    network = own_method.ConvNet(num_classes=10)
    images = np.zeros((1, 32, 32, 3), np.float32)
    variables = jax.device_get(dict(network.init(jax.random.key(0), images)))
    return Model("ConvNet", 10, variables, ("examples.own_method",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    save_model(folder / "own", own_network(), {"dataset": "few_digits"})
    network = create_model("resnet8", 10)
    variables = network.init(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
    model = Model("resnet8", 10, jax.device_get(variables))
    save_model(folder / "digits", model, {"dataset": "digits"})
    save_model(folder / "cifar100", model, {"dataset": "cifar100"})
    save_model(folder / "unknown", model, {})
    save_model(folder / "odd", model, {"dataset": ["digits"]})
    (folder / "weights.pth").write_bytes(b"")
    shutil.copytree(TEACHER, folder / "list")
    (folder / "list" / "model.json").write_text("[]")
    return folder


SAID = [
    ((*EVALUATE, TEACHER), "resnet20 on the 360 test images of digits: top-1 100.00 %"),
    ((*EVALUATE, "{output}/digits", "--model=resnet8"), "resnet8 on the 360 test"),
    ((*EVALUATE, "{output}/unknown", "--dataset=digits"), "test images of digits"),
    ((*EVALUATE, "{output}/own"), "ConvNet on the 360 test images of few_digits"),
    (
        (*EVALUATE, f"{STORED}/finished/best", "--config=tests/stored/tiny.py"),
        "Tiny on the 360 test images of digits",
    ),
    (
        (*EVALUATE, f"{STORED}/interrupted", "--config=tests/stored/tiny.py"),
        "Tiny on the 360 test images of digits",
    ),
    ((*ROBUSTNESS, "--student=s={output}/digits"), "the results on 8 test images"),
    ((*VISUALIZE, "--student={output}/unknown"), "visualize.json: the data in them"),
]
REFUSED = [
    ((*EVALUATE, TEACHER, "--model=resnet8"), "holds a resnet20, not a resnet8"),
    (
        (*EVALUATE, "{output}/own", "--data_dir=no", "--dataset=cifar100"),
        "CIFAR-100 is not in no",
    ),
    (
        (*EVALUATE, "{output}/unknown", "--data_dir=no"),
        "--data_dir no`; for another data set, give a --dataset",
    ),
    ((*EVALUATE, "{output}/odd", "--data_dir=no"), "CIFAR-100 is not in no"),
    ((*EVALUATE, "{output}/list"), "model.json is damaged: it isn't a JSON object"),
    (
        (*ROBUSTNESS, "--student=s={output}/cifar100"),
        f"different data sets ({TEACHER} on digits, {{output}}/cifar100 on cifar100)",
    ),
    (
        (*VISUALIZE, "--student={output}/cifar100"),
        f"different data sets ({TEACHER} on digits, {{output}}/cifar100 on cifar100)",
    ),
    (
        (*EVALUATE, "{output}/weights.pth"),
        "da-jax convert --model MODEL --source {output}/weights.pth"
        " --output checkpoints/weights` and name checkpoints/weights",
    ),
    (
        (*EVALUATE, "{output}/weights.pth", "--model=resnet8"),
        "--model resnet8 --source {output}/weights.pth --output checkpoints/resnet8`",
    ),
    ((*ROBUSTNESS, "--student={output}/weights.pth"), "da-jax convert --model MODEL"),
    ((*VISUALIZE, "--student={output}/weights.pth"), "da-jax convert --model MODEL"),
    (
        (
            *("da_jax.main", "--config=configs/digits.py", "--workdir={output}/run"),
            "--config.teacher.checkpoint={output}/weights.pth",
        ),
        "--model resnet20 --source {output}/weights.pth --output checkpoints/resnet20`",
    ),
]


@pytest.fixture(scope="module")
def ended(folder):
    commands = [command for command, _ in SAID + REFUSED]
    return run_all([[w.format(output=folder) for w in each] for each in commands])


@pytest.mark.parametrize("index", range(len(SAID)))
def test_what_the_folders_record_needs_no_argument(ended, index):
    assert ended[index].returncode == 0, ended[index].stderr
    assert SAID[index][1] in ended[index].stdout


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_what_the_folders_contradict_is_one_line(folder, ended, index):
    done = ended[len(SAID) + index]
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert REFUSED[index][1].format(output=folder) in done.stderr


def test_the_results_name_the_data_set(folder, ended):
    for file in ("robustness/robustness.json", "pictures/visualize.json"):
        assert json.loads((folder / file).read_text())["dataset"] == "digits"
