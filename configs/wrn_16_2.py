"""wrn_40_2 or resnet32x4 → wrn_16_2 on CIFAR-100.

python -m da_jax.main --config=configs/wrn_16_2.py
python -m da_jax.main --config=configs/wrn_16_2.py:resnet32x4
python -m da_jax.main --config=configs/wrn_16_2.py:resnet32x4,kd

Published with `kd`: 74.92 % from wrn_40_2 (mdistiller, last epoch). Nothing is
published from resnet32x4, or with `da`.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("wrn_40_2", "resnet32x4")


def get_config(variant: str = "") -> ConfigDict:
    return default.create("wrn_16_2", TEACHERS, variant)
