"""wrn_40_2 → wrn_40_1 on CIFAR-100.

python -m da_jax.main --config=configs/wrn_40_1.py
python -m da_jax.main --config=configs/wrn_40_1.py:kd

Published with `kd`: 73.54 % (mdistiller, last epoch). With `da`, nothing is
published.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("wrn_40_2",)


def get_config(variant: str = "") -> ConfigDict:
    return default.create("wrn_40_1", TEACHERS, variant)
