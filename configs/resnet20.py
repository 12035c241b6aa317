"""resnet56 → resnet20 on CIFAR-100.

python -m da_jax.main --config=configs/resnet20.py
python -m da_jax.main --config=configs/resnet20.py:kd

Published: 70.66 % with `kd` (mdistiller, lr 0.05); nothing with `da` as it is here, and
71.44 ± 0.16 % with the original's later variant of it.
"""

from ml_collections import ConfigDict

from configs import default


def get_config(variant: str = "da") -> ConfigDict:
    return default.create("resnet20", "resnet20", "resnet56", variant)
