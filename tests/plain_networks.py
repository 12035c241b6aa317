"""Plain Flax modules on digits: `--config=tests/plain_networks.py:MLP` and `:ViT`."""

import flax.linen as nn
from da_jax.configs import default

from da_jax.models import MODELS


class MLP(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images):
        x = nn.relu(nn.Dense(64)(images.reshape(len(images), -1)))
        return nn.Dense(self.num_classes)(x)


class ViT(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images, train):
        del train  # it has neither batch norm nor dropout
        x = nn.Conv(24, (8, 8), (8, 8))(images)
        x = x.reshape(len(x), -1, 24)
        x = x + self.param("position", nn.initializers.normal(0.02), x.shape[1:])
        x = x + nn.SelfAttention(num_heads=2)(nn.LayerNorm()(x))
        x = x + nn.Dense(24)(nn.gelu(nn.Dense(48)(nn.LayerNorm()(x))))
        return nn.Dense(self.num_classes)(x.mean(axis=1))


MODELS |= {"MLP": MLP, "ViT": ViT}


def get_config(student):
    config = default.create(student, ["resnet20"], "")
    config.imports = ("tests.plain_networks",)
    config.teacher.checkpoint = "checkpoints/digits_resnet20"
    config.dataset, config.num_epochs = "digits", 3
    config.optimizer.decay_epochs = (3,)
    config.optimizer.learning_rate = 0.005
    return config
