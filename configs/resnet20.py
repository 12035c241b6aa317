"""resnet56 or resnet110 → resnet20 on CIFAR-100.

python -m da_jax.main --config=configs/resnet20.py
python -m da_jax.main --config=configs/resnet20.py:resnet110
python -m da_jax.main --config=configs/resnet20.py:resnet110,kd
python -m da_jax.main --config=configs/resnet20.py:later
python -m da_jax.main --config=configs/resnet20.py:resnet110,later

Published with `kd`: 70.66 % from resnet56, 70.67 % from resnet110 (mdistiller, last
epoch). With `da` as here, nothing is published; with the original's later settings,
`later` (logit standardisation, KL ascent; best epoch), 71.44 ± 0.16 % and
71.41 ± 0.09 %.
"""

from da_jax.configs import default
from ml_collections import ConfigDict

TEACHERS = ("resnet56", "resnet110")


def get_config(variant: str = "") -> ConfigDict:
    return default.create("resnet20", TEACHERS, variant)
