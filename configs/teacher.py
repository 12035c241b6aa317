"""Any architecture from scratch on CIFAR-100, for example as a teacher.

python -m da_jax.main --config=configs/teacher.py:resnet56
python -m da_jax.main --config=configs/resnet20.py \
    --config.teacher.checkpoint=runs/teacher_resnet56/best

Published with this recipe, last epoch: resnet56 72.34 %, resnet110 74.31 %, resnet32x4
79.42 %, wrn_40_2 75.61 %, vgg13 74.64 %, ResNet50 79.34 %, resnet20 69.06 %, resnet32
71.14 %, resnet8x4 72.50 %, wrn_16_2 73.26 %, wrn_40_1 71.98 %, vgg8 70.36 %; with
--config.optimizer.learning_rate=0.01 MobileNetV2 64.60 %, ShuffleV1 70.50 %, ShuffleV2
71.82 % (mdistiller, from RepDistiller).
"""

from da_jax.configs import default
from ml_collections import ConfigDict

from da_jax.errors import UserError


def get_config(name: str = "") -> ConfigDict:
    if not name:
        raise UserError(
            "which architecture? For example --config=configs/teacher.py:vgg13"
        )
    return default.create_teacher(name)
