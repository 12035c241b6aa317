"""resnet32x4 or wrn_40_2 → ShuffleV1 on CIFAR-100.

python -m da_jax.main --config=configs/ShuffleV1.py
python -m da_jax.main --config=configs/ShuffleV1.py:wrn_40_2
python -m da_jax.main --config=configs/ShuffleV1.py:wrn_40_2,kd

Published with `kd` (mdistiller, last epoch, `lr0.01`): 74.07 % from resnet32x4, 74.83 %
from wrn_40_2. With `da`, nothing is published.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("resnet32x4", "wrn_40_2")


def get_config(variant: str = "") -> ConfigDict:
    return default.create("ShuffleV1", TEACHERS, variant)
