"""resnet32x4 → resnet8x4 on CIFAR-100.

python -m da_jax.main --config=configs/resnet8x4.py
python -m da_jax.main --config=configs/resnet8x4.py:kd

Published, best epoch of 5 runs: 74.59 ± 0.24 % with `da`, 73.66 ± 0.26 % with `kd`.
"""

from ml_collections import ConfigDict

from configs import default


def get_config(variant: str = "da") -> ConfigDict:
    return default.create("resnet8x4", "resnet8x4", "resnet32x4", variant)
