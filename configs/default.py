"""The fields of every config, with the original's defaults.

A config file's `get_config(variant)` starts from `create` and changes what is its own.
A variant is words joined by commas, in any order, at most one of each kind:

- the teacher, one of the file's (the first is the default);
- the method, a key of `methods` (KD by default), with mdistiller's numbers for it;
- `da`, distillation with Disagreement Augmentation (the default), or without: `kd`, or
  `none`, which reads better beside another method; or `fgsm`, `noise`, `pgd`;
- `lr0.05`, the original's learning rate (the default), or `lr0.01`, mdistiller's for
  MobileNetV2 and the ShuffleNets.
"""

from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from da_jax.errors import UserError, unknown_name

AUGMENTATIONS = {"da": "disagreement", "kd": "none"}
AUGMENTATIONS |= {name: name for name in ("none", "fgsm", "noise", "pgd")}
LEARNING_RATES = {"lr0.05": 0.05, "lr0.01": 0.01}

PAIRS: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("resnet110", "resnet32"): {"DKD": {"beta": 2.0}},
    ("resnet56", "resnet20"): {"DKD": {"beta": 2.0}},
    ("vgg13", "MobileNetV2"): {"DKD": {"beta": 6.0}},
    ("vgg13", "vgg8"): {"DKD": {"beta": 6.0}},
    ("wrn_40_2", "wrn_16_2"): {"DKD": {"beta": 6.0}},
    ("wrn_40_2", "wrn_40_1"): {"DKD": {"beta": 6.0}},
    ("resnet32x4", "resnet8x4"): {"ReviewKD": {"review_weight": 5.0}},
}
"""What mdistiller's configs have differently for a pair of teacher and student."""


def create(student: str, teachers: Collection[str], variant: str) -> ConfigDict:
    """Distillation into `student` on CIFAR-100, as the original has it.

    Args:
      student: its architecture.
      teachers: the architectures of its teachers. Converted weights are expected in
        `checkpoints/TEACHER`.
      variant: as above.

    Raises:
      UserError: an unknown word in the variant, or two of a kind.
    """
    kinds = [
        list(teachers),
        list(methods()),
        list(AUGMENTATIONS),
        list(LEARNING_RATES),
    ]
    teacher, method, augmentation, rate = _choose(variant, kinds)
    words = [teacher, student, augmentation]
    if method != "KD":
        words.insert(2, method)
    config = defaults("_".join(words), student)
    config.method = method
    config.update(PAIRS.get((teacher, student), {}))
    config.teacher.model = teacher
    config.teacher.checkpoint = f"checkpoints/{teacher}"
    config.augmentation = AUGMENTATIONS[augmentation]
    config.optimizer.learning_rate = LEARNING_RATES[rate]
    if rate != "lr0.05":
        config.name += f"_{rate}"
    return config


def create_teacher(student: str) -> ConfigDict:
    """Training of `student` from scratch on CIFAR-100, by mdistiller's recipe."""
    config = defaults(f"teacher_{student}", student)
    config.method = "vanilla"
    config.augmentation = "none"
    return config


def _choose(variant: str, kinds: list[list[str]]) -> list[str]:
    """The word of each kind in `variant`, or the kind's first."""
    words = [word for word in variant.split(",") if word]
    known = [word for kind in kinds for word in kind]
    for word in words:
        if word not in known:
            raise unknown_name("variant", word, known)
    chosen = [[word for word in words if word in kind] for kind in kinds]
    for several in chosen:
        if len(several) > 1:
            raise UserError(f"the variant has both {' and '.join(several)}")
    return [
        word[0] if word else kind[0] for word, kind in zip(chosen, kinds, strict=True)
    ]


def defaults(name: str, student: str) -> ConfigDict:
    """Every field. The run `name` has no teacher yet."""
    config = ConfigDict()
    config.name = name  # of the default folder, runs/NAME
    config.seed = 0
    config.num_seeds = 1  # students side by side, of seeds seed, seed + 1, …
    config.parallel = "batch"  # what several devices share out; or "seeds"
    config.dataset = "cifar100"
    config.data_dir = ""  # TFDS's folder; empty for its default
    config.train_size = 0  # how much of the training set there is; 0: all of it
    config.train_seed = 0  # which part
    config.validation_size = 0  # of it, held out to choose the epoch on
    config.validation_seed = 0  # which ones
    config.student = student
    config.teacher = ConfigDict()
    config.teacher.model = ""
    config.teacher.checkpoint = ""  # a converted model's folder, or a run's

    config.method = "KD"
    config.update(methods())
    config.use_labels = True  # False drops the cross-entropy of distillation

    config.augmentation = "disagreement"  # or "none", "fgsm", "noise", "pgd"
    config.fgsm = ConfigDict()
    config.fgsm.probability = 0.7374
    config.fgsm.learning_rate = 0.01778  # in units of normalised pixels
    config.pgd = ConfigDict()
    config.pgd.probability = 0.7374
    config.pgd.learning_rate = 0.00889
    config.pgd.radius = 0.01778  # how far a pixel may go
    config.pgd.steps = 4
    config.disagreement = ConfigDict()  # of `noise` too, which goes as far
    config.disagreement.probability = 0.7374  # p, one coin for the batch
    config.disagreement.learning_rate = 0.01778  # α, in units of normalised pixels
    config.disagreement.steps = 1  # e
    config.disagreement.target = 0.0  # of the relative rise, by an α that adapts
    config.disagreement.divergence = "mse"  # or "kl"
    config.disagreement.logit_standardization = False
    config.disagreement.update_batch_stats = True
    config.disagreement.reduce_on_plateau = True
    config.disagreement.random_init = False
    config.disagreement.reference_batch = 0  # 0: the batch's own size

    config.precision = "tensorfloat32"  # PyTorch's default; or "float32", "bfloat16"

    config.num_epochs = 240
    config.batch_size = (
        64  # over all devices, a student; part of the algorithm, see the README
    )
    config.drop_remainder = True  # of an epoch's last, short batch
    config.eval_batch_size = 500
    config.eval_every = 1  # epochs; the last is always evaluated
    config.checkpoint_every = 1  # epochs
    config.steps_per_call = 0  # steps a program; 0: 1 on CPUs, else the epoch
    config.profile_steps = 0  # of the second epoch, traced into WORKDIR/profile
    config.gallery_every = 0  # epochs: test images on their ascent, for TensorBoard

    config.wandb = ConfigDict()  # Weights & Biases, with the extra `wandb`
    config.wandb.mode = ""  # or "offline", "online"
    config.wandb.project = "da-jax"

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # or "dot", with a momentum for each of two gradients
    config.optimizer.dot_delta = 0.075  # by how much these differ from the momentum
    config.optimizer.learning_rate = 0.05
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 5e-4
    config.optimizer.decay_epochs = (150, 180, 210)
    config.optimizer.decay_rate = 0.1
    return config


def methods() -> dict[str, dict[str, Any]]:
    """A section for each method, mdistiller's numbers.

    A float is an argument of the program; what shapes it is an int or a bool.
    """
    return {
        "KD": {
            "temperature": 4.0,
            "ce_weight": 0.1,
            "kd_weight": 0.9,
            "logit_standardization": False,
        },
        "DKD": {
            "temperature": 4.0,
            "ce_weight": 1.0,
            "alpha": 1.0,  # of the label's class
            "beta": 8.0,  # of the others
            "warmup": 20.0,  # epochs
            "logit_standardization": False,
        },
        "MLKD": {
            "temperature": 4.0,
            "ce_weight": 0.1,
            "kd_weight": 0.9,
            "logit_standardization": False,
        },
        "AT": {"power": 2, "ce_weight": 1.0, "feat_weight": 1000.0},
        "FitNet": {"hint_layer": 2, "ce_weight": 1.0, "feat_weight": 100.0},
        "RKD": {
            "ce_weight": 1.0,
            "feat_weight": 1.0,
            "distance_weight": 25.0,
            "angle_weight": 50.0,
        },
        "SP": {"ce_weight": 1.0, "feat_weight": 3000.0},
        "PKT": {"ce_weight": 1.0, "feat_weight": 30000.0},
        "NST": {"ce_weight": 1.0, "feat_weight": 50.0},
        "VID": {"ce_weight": 1.0, "feat_weight": 1.0, "variance": 5.0},
        "KDSVD": {"rank": 1, "ce_weight": 1.0, "feat_weight": 1.0},
        "OFD": {"kernel_size": 1, "ce_weight": 1.0, "feat_weight": 0.001},
        "ReviewKD": {
            "student_preact": False,
            "ce_weight": 1.0,
            "review_weight": 1.0,
            "warmup": 20.0,  # epochs
        },
        "CRD": {
            "width": 128,  # of the embeddings
            "num_others": 16384,  # an image is contrasted with
            "ce_weight": 1.0,
            "feat_weight": 0.8,
            "temperature": 0.07,
            "momentum": 0.5,  # of the memories
        },
    }
