"""resnet110 → resnet32 on CIFAR-100.

python -m da_jax.main --config=configs/resnet32.py
python -m da_jax.main --config=configs/resnet32.py:kd
python -m da_jax.main --config=configs/resnet32.py:later

Published with `kd`: 73.08 % (mdistiller, last epoch). With `da` as here, nothing is
published; with the original's later settings, `later` (logit standardisation, KL
ascent; best epoch), 73.79 ± 0.27 %.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("resnet110",)


def get_config(variant: str = "") -> ConfigDict:
    return default.create("resnet32", TEACHERS, variant)
