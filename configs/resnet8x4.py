"""resnet32x4 or wrn_40_2 → resnet8x4 on CIFAR-100.

python -m da_jax.main --config=configs/resnet8x4.py
python -m da_jax.main --config=configs/resnet8x4.py:wrn_40_2
python -m da_jax.main --config=configs/resnet8x4.py:wrn_40_2,kd

Published from resnet32x4, best epoch of 5 runs: 74.59 ± 0.24 % with `da`,
73.66 ± 0.26 % with `kd`. From wrn_40_2, nothing is
published.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("resnet32x4", "wrn_40_2")


def get_config(variant: str = "") -> ConfigDict:
    return default.create("resnet8x4", TEACHERS, variant)
