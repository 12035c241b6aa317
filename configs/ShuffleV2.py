"""resnet32x4 → ShuffleV2 on CIFAR-100.

python -m da_jax.main --config=configs/ShuffleV2.py
python -m da_jax.main --config=configs/ShuffleV2.py:kd

Published, best epoch of 5 runs: 73.70 ± 0.19 % with `da`, 71.67 ± 0.34 % with `kd`. At
mdistiller's learning rate (`kd,lr0.01`, last epoch) 74.45 %, ahead of `da` at 0.05.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("resnet32x4",)


def get_config(variant: str = "") -> ConfigDict:
    return default.create("ShuffleV2", TEACHERS, variant)
