"""What a user can do wrong: one clear line each, and nothing is written."""

import pickle
import shutil

import jax
import numpy as np
import pytest

from da_jax.models import create_model
from da_jax.storage.model_folders import Model, save_model
from tests.command_runs import run_all
from tests.data.datasets_test import binary_folder, packed, python_folder

TEACHER = "checkpoints/digits_resnet20"
DIGITS = "--config=configs/digits.py"
NO_DOWNLOAD = "--config.dataset=digits"

FIELDS = [
    ("batch_size=0", "at least 2"),
    ("batch_size=1", "at least 2"),
    ("batch_size=2000", "only 1437"),
    ("batch_size=many", "batch_size"),
    ("eval_batch_size=0", "at least 1"),
    ("num_epochs=0", "at least 1"),
    ("num_epochs=-3", "at least 1"),
    ("num_seeds=0", "at least 1"),
    ("seed=-1", "from 0 to 2**32 - 1"),
    ("seed=4294967296", "from 0 to 2**32 - 1"),
    ("checkpoint_every=0", "at least 1"),
    ("steps_per_call=-1", "at least 0"),
    ("profile_steps=-1", "at least 0"),
    ("gallery_every=-1", "at least 0"),
    ("precision=float16", "known: float32, tensorfloat32, bfloat16"),
    ("parallel=both", "known: batch, seeds"),
    ("student=resnet9", "resnet8x4"),
    ("teacher.model=resnet21", "resnet20"),
    ("teacher.model=resnet32", "is a resnet20 of 10 classes"),
    ("teacher.checkpoint=nowhere", "nowhere"),
    ("teacher.checkpoint=configs", "configs"),
    ("method=DK", "KD"),
    ("dataset=cifar10", "known: "),
    ("validation_size=5", "from 10, the number of classes, to 1427"),
    ("validation_size=-1", "at least 0"),
    ("augmentation=mixup", "known: none, disagreement, fgsm, noise, pgd"),
    ("disagreement.divergence=js", "known: mse, kl"),
    ("disagreement.probability=1.5", "from 0 to 1"),
    ("disagreement.probability=-0.1", "from 0 to 1"),
    ("disagreement.probability=nan", "from 0 to 1"),
    ("disagreement.learning_rate=-1.0", "at least 0"),
    ("disagreement.learning_rate=inf", "at least 0"),
    ("disagreement.steps=-1", "at least 0"),
    ("disagreement.target=-0.3", "at least 0"),
    ("disagreement.steps=1.5", "steps"),
    ("disagreement.reference_batch=-64", "at least 0"),
    ("KD.temperature=0.0", "positive"),
    ("KD.temperature=nan", "positive"),
    ("DKD.warmup=0.0 method=DKD", "DKD.warmup is 0.0; it must be positive"),
    ("CRD.num_others=0 method=CRD", "CRD.num_others is 0; it must be at least 1"),
    ("pgd.radius=-1.0", "at least 0"),
    ("fgsm.probability=2.0", "from 0 to 1"),
    ("optimizer.name=adam", "known: dot, sgd"),
    ("optimizer.dot_delta=1.0", "below 1"),
    ("optimizer.learning_rate=0.0", "positive"),
    ("optimizer.learning_rate=nan", "positive"),
    ("optimizer.momentum=1.0", "below 1"),
    ("optimizer.weight_decay=-0.1", "at least 0"),
    ("optimizer.decay_rate=0.0", "above 0"),
    ("optimizer.decay_rate=2.0", "at most 1"),
    ("optimizer.schedule=cos", "known: step, cosine, linear, constant"),
    ("optimizer.warmup_epochs=10", "the warm-up must be shorter"),
    ("optimizer.clip_norm=-1.0", "at least 0"),
    ("label_smoothing=0.1 use_labels=False", "drops the cross-entropy"),
    ("ema_decay=1.0", "below 1"),
    ("init_checkpoint=nowhere", "'nowhere', which isn't a folder"),
    ("init_checkpoint=configs", "configs is neither a converted model nor a run"),
    (f"init_checkpoint={TEACHER}", "holds a resnet20, but config.student is resnet8"),
    ("optimizer.decay_epochs=(5,3)", "later than the one before"),
    ("optimizer.decay_epochs=(0,)", "from 1 on"),
    ("wandb.mode=onlin", "known: offline, online"),
    ("sede=1", "unknown field 'sede' (did you mean seed?)"),
    ("disagreement.prob=0.5", "(did you mean disagreement.probability?)"),
    (
        "lr=1",
        "unknown field 'lr' (did you mean disagreement.learning_rate or optimizer",
    ),
    ("num_epoch=1", "unknown field 'num_epoch' (did you mean num_epochs?)"),
    ("learning_rate=1", "or optimizer.learning_rate?)"),
    ("seed.x=1", "(did you mean seed?)"),
    ("student=Resnet20", "'Resnet20' (did you mean resnet20, "),
    ("method=dkd", "'dkd' (did you mean DKD"),
    ("dataset=cifar", "'cifar' (did you mean cifar100?)"),
    ("augmentation=disagree", "'disagree' (did you mean disagreement?)"),
]
"""Overrides of configs/digits.py, and what the line says of them."""

ROBUSTNESS = (
    *("da_jax.robustness", "--dataset=digits", f"--student=other={TEACHER}"),
    f"--teacher={TEACHER}",
)

PICTURES = ("da_jax.visualize", "--dataset=digits", f"--teacher={TEACHER}")
VISUALIZE = (*PICTURES, f"--student={TEACHER}")
PREPARE = ("da_jax.prepare", "--dataset", "cifar100", "--archive")

COMMANDS = [
    (("da_jax", "trian"), "unknown command 'trian'"),
    (("da_jax",), "required: command (see `da-jax --help`)"),
    (("da_jax", "evaluate"), "see `da-jax evaluate --help`"),
    (("da_jax.main", "--config=digitz"), "unknown bundled config 'digitz'"),
    (("da_jax", "train", "--config=no/digits.py"), "one is --config=digits"),
    (("da_jax.main",), "no config"),
    (("da_jax.main", "--config=configs/missing.py"), "missing.py"),
    (("da_jax.main", "--config=configs/digits.py:ad"), "known: resnet20, KD, DKD"),
    (
        ("da_jax.main", "--config=configs/teacher.py:resnet9", NO_DOWNLOAD),
        "resnet8x4",
    ),
    (("da_jax.main", "--config=configs/teacher.py"), "configs/teacher.py:vgg13"),
    (("da_jax.main", f"{DIGITS}:later,DKD"), "the variant has both later and DKD"),
    (("da_jax.main", "--config=configs/digit.py"), "(did you mean configs/digits.py?)"),
    (("da_jax.main", "--config=configs/digits.py:dkd"), "'dkd' (did you mean DKD"),
    (("da_jax.main", "--config=README.md"), "can't be loaded: SyntaxError"),
    (("da_jax.main", DIGITS, "--workdir={files}"), "has other files, such as "),
    (("da_jax.sweep", DIGITS, "--workdir={files}"), "has other files, such as "),
    (("da_jax.main", DIGITS, "--confg.seed=1"), "confg"),
    (("da_jax.main", DIGITS, "--config.num_epochs=1", "--config.profile_steps=2"), "2"),
    (("da_jax.evaluate", "--model", "resnet8", "--checkpoint", "nowhere"), "nowhere"),
    (("da_jax.evaluate", "--model", "resnet9", "--checkpoint", "x"), "resnet8x4"),
    (("da_jax.evaluate", "--model", "resnet8"), "--checkpoint"),
    (
        ("da_jax.evaluate", "--config=no.py", "--model=resnet8", "--checkpoint=x"),
        "no.py is not a file",
    ),
    (("da_jax.robustness", "--teacher=x"), "--student"),
    (("da_jax.robustness", "--teacher=x", "--student=no"), "no is not a folder"),
    ((*ROBUSTNESS, "--teacher=nowhere"), "--teacher nowhere is not a folder"),
    ((*ROBUSTNESS, "--teacher=configs"), "configs is neither a converted model nor"),
    ((*ROBUSTNESS, f"--student={TEACHER}"), "both called 'digits_resnet20'"),
    ((*ROBUSTNESS, "--student=more={files}/eleven"), "resnet8 of 11 classes, but"),
    ((*ROBUSTNESS, "--only=attacks,defences"), "unknown part 'defences'; known: dis"),
    ((*ROBUSTNESS, "--steps=-1"), "'-1' is not a whole number from 0 on"),
    ((*ROBUSTNESS, "--steps=2.5"), "--steps: '2.5' is not a whole number"),
    ((*ROBUSTNESS, "--learning_rate=-0.1"), "'-0.1' is not a number from 0 on"),
    ((*ROBUSTNESS, "--learning_rate=nan"), "'nan' is not a number from 0 on"),
    ((*ROBUSTNESS, "--batch_size=0"), "--batch_size: '0' is not a whole number from 1"),
    ((*ROBUSTNESS, "--budgets=1,x"), "--budgets: 'x' is not a number from 0 to 255"),
    ((*ROBUSTNESS, "--budgets=-1"), "--budgets: '-1' is not a number from 0 to 255"),
    ((*ROBUSTNESS, "--iterations=0"), "'0' is not a whole number from 1 on"),
    ((*ROBUSTNESS, "--seed=4294967296"), "from 0 to 4294967295"),
    ((*ROBUSTNESS, "--num_images=361"), "digits has only 360 test images"),
    ((*ROBUSTNESS, "--dataset=cifar10"), "unknown dataset 'cifar10'"),
    ((*ROBUSTNESS, "--dataset=cifar100", "--data_dir=no"), "CIFAR-100 is not in no"),
    ((*ROBUSTNESS, "--config=no.py"), "no.py is not a file"),
    ((*ROBUSTNESS, "--output=README.md"), "README.md is a file"),
    (
        (
            "da_jax.main",
            "--config=configs/digits_teacher.py",
            "--config.gallery_every=1",
        ),
        "config.gallery_every shows where student and teacher disagree",
    ),
    (PICTURES, "--student"),
    ((*PICTURES, "--student=nowhere"), "nowhere is neither a converted model"),
    ((*PICTURES, "--student=configs"), "configs is neither a converted model"),
    ((*VISUALIZE, f"--student={TEACHER}"), "is given twice"),
    ((*VISUALIZE, "--student=x", "--student=y"), "--student is given more than twice"),
    (
        (*VISUALIZE, "--only=gallery,umap"),
        "known: gallery, tsne, correlation, per_class",
    ),
    ((*VISUALIZE, "--only="), "--only names no part"),
    ((*VISUALIZE, "--images=0,360"), "test images of digits are 0 to 359"),
    ((*VISUALIZE, "--images=few"), "not a list of whole numbers such as 0,1,5"),
    ((*VISUALIZE, "--images="), "--images names no image"),
    ((*VISUALIZE, "--images=1", "--num_images=1"), "not allowed with"),
    ((*VISUALIZE, "--num_images=361"), "digits has 360 test images"),
    ((*VISUALIZE, "--num_images=0"), "at least 1"),
    ((*VISUALIZE, "--steps=1,5"), "--steps must ascend from 0"),
    ((*VISUALIZE, "--steps=0,5,1"), "--steps must ascend from 0"),
    ((*VISUALIZE, "--learning_rate=-1"), "at least 0"),
    ((*VISUALIZE, "--learning_rate=nan"), "at least 0"),
    ((*VISUALIZE, "--classes=1,ten"), "known: 0, 1, 2"),
    ((*VISUALIZE, "--classes=1"), "at least 2"),
    ((*VISUALIZE, "--num_classes=1"), "at least 2"),
    ((*VISUALIZE, "--num_classes=11"), "digits has 10 classes"),
    ((*VISUALIZE, "--images_per_class=1"), "at least 2"),
    ((*VISUALIZE, "--dpi=0"), "from 30 to 600"),
    ((*VISUALIZE, "--dataset=digit"), "known: cifar100, digits"),
    (
        (*VISUALIZE, "--dataset=cifar100", "--data_dir={files}"),
        "da-jax prepare",
    ),
    ((*VISUALIZE, "--output=README.md"), "--output README.md is a file"),
    (("da_jax.prepare", "--dataset", "cifar100"), "--archive"),
    (("da_jax.prepare", "--dataset", "cifar10", "--archive", "x"), "cifar100"),
    ((*PREPARE, "nowhere"), "nowhere"),
    ((*PREPARE, "README.md"), "README"),
    ((*PREPARE, "{files}/cut.tar.gz"), "cut.tar.gz isn't a readable"),
    ((*PREPARE, "{files}/empty"), "empty isn't a CIFAR-100 archive"),
    ((*PREPARE, "{files}/cifar-100-binary"), "train.bin is damaged: 100 bytes"),
    ((*PREPARE, "{files}/small_images"), "an [N, 3072] array of bytes"),
    ((*PREPARE, "{files}/other_labels"), "label 200 of 100 classes in train"),
    ((*PREPARE, "{files}/few"), "30 train images instead of 50,000"),
    (("convert", "--model", "resnet9", "--source", "x", "--output", "y"), "resnet8x4"),
    (
        ("convert", "--model", "resnet8", "--source", "x", "--output", "y"),
        "x can't be read",
    ),
    (
        ("convert", "--model", "resnet8", "--source", "README.md", "--output", "y"),
        "README.md",
    ),
    (("convert", "--all", "--source", "README.md", "--output", "y"), "README.md"),
    (("da_jax.report",), "RUN"),
    (("da_jax.report", "runs", "--output"), "--output"),
    (("da_jax.report", "runs", "--output", "README.md"), "README.md can't be written"),
    (("da_jax.report", "runs", "--output", "README.md/x"), "Not a directory"),
]
"""Whole commands, and what the line says of them."""


def write_files(folder):
    """Archives and models that something is wrong with, as the commands name them."""
    other = create_model("resnet8", 11)
    variables = other.init(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
    save_model(folder / "eleven", Model("resnet8", 11, variables), {})
    python = python_folder(folder)
    shutil.copytree(python, folder / "few")
    rows = {"fine_labels": [1] * 30, "coarse_labels": [1] * 30}
    for name, images, labels in (
        ("small_images", np.zeros((30, 1024), np.uint8), rows),
        (
            "other_labels",
            np.zeros((30, 3072), np.uint8),
            rows | {"fine_labels": [200] * 30},
        ),
    ):
        shutil.copytree(python, folder / name)
        content = pickle.dumps({"data": images, **labels}, protocol=2)
        (folder / name / "train").write_bytes(content)
    (folder / "cut.tar.gz").write_bytes(packed(python).read_bytes()[:5000])
    (folder / "empty").mkdir()
    (binary_folder(folder) / "train.bin").write_bytes(bytes(100))


def cases(folder):
    workdir = f"--workdir={folder / 'run'}"
    for override, message in FIELDS:
        overrides = [f"--config.{field}" for field in override.split(" ")]
        yield ("da_jax.main", DIGITS, workdir, *overrides), message
    for (module, *arguments), message in COMMANDS:
        own = (workdir,) if module == "da_jax.main" else ()
        if module == "da_jax.prepare":
            own = (f"--data_dir={folder / 'data'}",)
        if module == "da_jax.visualize":
            own = (f"--output={folder / 'pictures'}",)
        words = [word.format(files=folder / "files") for word in arguments]
        yield (module, *own, *words), message


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "files").mkdir()
    write_files(folder / "files")
    return folder


@pytest.fixture(scope="module")
def ended(folder):
    return run_all([command for command, _ in cases(folder)])


@pytest.mark.parametrize(
    "index",
    range(len(FIELDS) + len(COMMANDS)),
    ids=[override for override, _ in FIELDS] + [" ".join(c) for c, _ in COMMANDS],
)
def test_a_mistake_ends_in_one_line(folder, ended, index):
    command, message = list(cases(folder))[index]
    done = ended[index]
    assert done.returncode == 2, (command, done)
    assert done.stderr.count("\n") == 1 and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
    assert "\\" not in done.stderr and "earlier failure" not in done.stderr
    assert [file.name for file in folder.iterdir()] == ["files"]
