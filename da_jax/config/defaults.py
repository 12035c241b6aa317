"""The fields of every config, with the original's defaults.

The sections of methods and augmentations come from what their classes declare.
"""

from typing import Any

from ml_collections import ConfigDict

from da_jax.augmentations import AUGMENTATIONS
from da_jax.declarations import section
from da_jax.methods import METHODS


def sections(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the config section of each class that declares fields, by name."""
    made = {name: section(cls) for name, cls in table.items()}
    return {
        name: fields
        for name, fields in made.items()
        if fields and config_section(table, name) == name
    }


def config_section(table: dict[str, Any], name: str) -> str:
    """Returns the name of a class's config section: its own, or one that it shares."""
    return str(getattr(table[name], "config_section", name))


def sections_in_use(config: ConfigDict) -> dict[str, str]:
    """Returns the section of a config's method and that of its augmentation."""
    return {
        "method": config.method,
        "augmentation": config_section(AUGMENTATIONS, config.augmentation),
    }


def defaults(name: str, student: str) -> ConfigDict:
    """Returns a config with every field. The run `name` has no teacher yet."""
    config = ConfigDict()
    config.name = name  # of the default folder, runs/NAME
    config.imports = ()  # modules that define what isn't bundled
    config.seed = 0
    config.num_seeds = 1  # students side by side, of seeds seed, seed + 1, …
    config.parallel = "batch"  # what is spread over several devices; or "seeds"
    config.dataset = "cifar100"
    config.data_dir = ""  # TFDS's folder; empty for its default
    config.train_size = 0  # how many training examples; 0: all
    config.train_seed = 0  # which ones
    config.validation_size = 0  # of them, held out to choose the epoch on
    config.validation_seed = 0  # which ones
    config.student = student
    config.init_checkpoint = ""  # a model's or a run's folder, to fine-tune its student
    config.teacher = ConfigDict()
    config.teacher.model = ""
    config.teacher.checkpoint = ""  # a converted model's folder, or a run's

    config.method = "KD"
    config.update(sections(METHODS))
    config.use_labels = True  # False drops the cross-entropy of distillation
    config.label_smoothing = 0.0  # of the cross-entropy's labels
    config.augmentation = "disagreement"  # or another key of AUGMENTATIONS
    config.update(sections(AUGMENTATIONS))

    config.precision = "tensorfloat32"  # PyTorch's default; or "float32", "bfloat16"

    config.num_epochs = 240
    config.ema_decay = 0.0  # of a moving average that is evaluated; 0: no average
    config.batch_size = 64  # of a student, over all devices; part of the algorithm
    config.drop_remainder = True  # of an epoch's last, short batch
    config.eval_batch_size = 500
    config.eval_every = 1  # epochs; the last is always evaluated
    config.checkpoint_every = 1  # epochs
    config.steps_per_call = 0  # steps of a program; 0: 1 on CPUs, else the epoch
    config.profile_steps = 0  # of the second epoch, traced into WORKDIR/profile
    config.gallery_every = 0  # epochs: test images on their ascent, for TensorBoard

    config.wandb = ConfigDict()  # Weights & Biases, with the extra `wandb`
    config.wandb.mode = ""  # or "offline", "online"
    config.wandb.project = "da-jax"

    config.optimizer = _optimizer()
    return config


def _optimizer() -> ConfigDict:
    optimizer = ConfigDict()
    optimizer.name = "sgd"  # or another key of OPTIMIZERS
    optimizer.dot_delta = 0.075  # by how much DOT's momenta differ from momentum
    optimizer.learning_rate = 0.05
    optimizer.momentum = 0.9  # b1 of adamw, lion and lamb
    optimizer.weight_decay = 5e-4
    optimizer.decay_bias_and_norm = True  # by weight_decay, as weights are
    optimizer.clip_norm = 0.0  # largest global norm of the gradient; 0: no limit
    optimizer.schedule = "step"  # or "cosine", "linear", "constant"
    optimizer.warmup_epochs = 0.0  # of a linear rise from 0, before the schedule
    optimizer.decay_epochs = (150, 180, 210)  # of the schedule "step"
    optimizer.decay_rate = 0.1  # of the schedule "step"
    return optimizer
