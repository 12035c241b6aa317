"""A method, network and data set of your own: --config=examples/own_method.py."""

import flax.linen as nn

from configs import default
from da_jax import data as datasets
from da_jax import methods, models


class LogitMSE(methods.Method):  # Ba and Caruana, 2014
    def __call__(self, batch, weights):
        differences = batch.student.logits - batch.teacher.logits
        return {"loss_kd": (differences**2).mean() * weights["kd_weight"]}


class ConvNet(models.Network):  # a stem of 16 pixels, a stage of 8
    def stages(self, images, train):
        stem = nn.relu(self.norm("bn")(self.conv(32, 5, 2, name="conv")(images), train))
        preact = self.norm("bn1")(self.conv(128, 5, 2, name="conv1")(stem), train)
        feats = [stem, nn.relu(preact)]
        return models.Stages(feats, [stem, preact], feats[1].mean((1, 2)))


def few_digits(data_dir):  # 500 of the digits' 1,437 training images
    full = datasets.digits.load(data_dir)
    train = datasets.Examples(*(array[:500] for array in full.train))
    return datasets.Dataset(train, full.read_test, full.num_classes, full.preprocessing)


methods.METHODS["LogitMSE"] = LogitMSE
models.MODELS["ConvNet"] = ConvNet
datasets.DATASETS["few_digits"] = few_digits


def get_config(variant=""):
    config = default.create("ConvNet", ["resnet20"], variant)
    config.teacher.checkpoint = "checkpoints/digits_resnet20"
    config.dataset, config.method, config.num_epochs = "few_digits", "LogitMSE", 20
    config.LogitMSE = {"kd_weight": 1.0}
    return config
