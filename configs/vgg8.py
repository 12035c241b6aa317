"""vgg13 → vgg8 on CIFAR-100.

python -m da_jax.main --config=configs/vgg8.py
python -m da_jax.main --config=configs/vgg8.py:kd

Published, best epoch of 5 runs: 73.76 ± 0.29 % with `da`, 73.33 ± 0.25 % with `kd`.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("vgg13",)


def get_config(variant: str = "") -> ConfigDict:
    return default.create("vgg8", TEACHERS, variant)
