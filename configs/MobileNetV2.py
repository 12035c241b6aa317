"""vgg13 or ResNet50 or wrn_40_2 → MobileNetV2 on CIFAR-100.

python -m da_jax.main --config=configs/MobileNetV2.py
python -m da_jax.main --config=configs/MobileNetV2.py:ResNet50
python -m da_jax.main --config=configs/MobileNetV2.py:wrn_40_2
python -m da_jax.main --config=configs/MobileNetV2.py:wrn_40_2,kd

Published with `kd` (mdistiller, last epoch, `lr0.01`): 67.37 % from vgg13, 67.35 % from
ResNet50. Nothing is published from wrn_40_2, or with `da`.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("vgg13", "ResNet50", "wrn_40_2")


def get_config(variant: str = "") -> ConfigDict:
    return default.create("MobileNetV2", TEACHERS, variant)
