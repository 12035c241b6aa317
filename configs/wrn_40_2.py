"""resnet32x4 → wrn_40_2 on CIFAR-100.

python -m da_jax.main --config=configs/wrn_40_2.py
python -m da_jax.main --config=configs/wrn_40_2.py:kd

Nothing is published; wrn_40_2 trained without a teacher has 75.61 % (RepDistiller).
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("resnet32x4",)


def get_config(variant: str = "") -> ConfigDict:
    return default.create("wrn_40_2", TEACHERS, variant)
