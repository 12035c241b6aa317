"""resnet56 → resnet20 on CIFAR-100.

python -m da_jax.main --config=configs/resnet20.py
python -m da_jax.main --config=configs/resnet20.py:kd
"""

from ml_collections import ConfigDict

from configs import default


def get_config(variant: str = "da") -> ConfigDict:
    return default.create("resnet20", "resnet20", "resnet56", variant)
