"""The fields of every config, with the original's defaults.

A config file's `get_config(variant)` starts from `create` and changes what is its
own. The variants are `da` (the default: distillation with Disagreement Augmentation)
and `kd` (the same without it).
"""

from ml_collections import ConfigDict

from da_jax.errors import unknown_name

VARIANTS = {"da": "disagreement", "kd": "none"}
"""Each variant's augmentation."""


def create(name: str, student: str, teacher: str, variant: str) -> ConfigDict:
    """Distillation of `teacher` into `student` on CIFAR-100, as the original has it.

    Args:
      name: of the config file; with the variant, of the run's default folder.
      student: its architecture.
      teacher: its architecture; converted weights are expected in
        `checkpoints/TEACHER`. Empty for none.
      variant: a key of `VARIANTS`.

    Raises:
      UserError: no such variant.
    """
    if variant not in VARIANTS:
        raise unknown_name("variant", variant, VARIANTS)
    config = ConfigDict()
    config.name = f"{name}_{variant}"
    config.seed = 0
    config.dataset = "cifar100"
    config.data_dir = ""  # TFDS's folder; empty for its default
    config.student = student
    config.teacher = ConfigDict()
    config.teacher.model = teacher
    config.teacher.checkpoint = f"checkpoints/{teacher}" if teacher else ""

    config.method = "KD"
    config.KD = ConfigDict()
    config.KD.temperature = 4.0
    config.KD.ce_weight = 0.1
    config.KD.kd_weight = 0.9
    config.KD.logit_standardization = False
    config.use_labels = True  # False drops the cross-entropy of distillation

    config.augmentation = VARIANTS[variant]  # or "none"
    config.disagreement = ConfigDict()
    config.disagreement.probability = 0.7374  # p, one coin for the batch
    config.disagreement.learning_rate = 0.01778  # α, in units of normalised pixels
    config.disagreement.steps = 1  # e
    config.disagreement.divergence = "mse"  # or "kl"
    config.disagreement.logit_standardization = False
    config.disagreement.update_batch_stats = True
    config.disagreement.reduce_on_plateau = True
    config.disagreement.random_init = False
    config.disagreement.reference_batch = 0  # 0: the batch's own size

    config.num_epochs = 240
    config.batch_size = 64  # over all devices; part of the algorithm, see the README
    config.drop_remainder = True  # of an epoch's last, short batch
    config.eval_batch_size = 500
    config.checkpoint_every = 1  # epochs

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 0.05
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 5e-4
    config.optimizer.decay_epochs = (150, 180, 210)
    config.optimizer.decay_rate = 0.1
    return config
