"""A method, network and data set of your own: --config=examples/own_method.py."""

import flax.linen as nn
from da_jax.configs import default

from da_jax import data, methods, models
from da_jax.declarations import NOT_NEGATIVE, Declaration


class LogitMSE(methods.Method):  # beside the cross-entropy; Ba and Caruana, 2014
    hyperparameters = {"kd_weight": Declaration(1.0, NOT_NEGATIVE, "weight")}

    def distillation(self, inputs, weights):
        differences = inputs.student.logits - inputs.teacher.logits
        return {"loss_kd": (differences**2).mean() * weights["kd_weight"]}


class ConvNet(models.Network):  # a stem of 16 pixels, a stage of 8
    def stages(self, images, train):
        stem = nn.relu(self.norm("bn")(self.conv(32, 5, 2, name="conv")(images), train))
        preact = self.norm("bn1")(self.conv(128, 5, 2, name="conv1")(stem), train)
        feats = [stem, nn.relu(preact)]
        return models.Stages(feats, [stem, preact], feats[1].mean((1, 2)))


def few_digits(data_dir):  # 500 of the digits' 1,437 training images
    return data.take_part(data.digits.load(data_dir), size=500, seed=0)


methods.METHODS["LogitMSE"], models.MODELS["ConvNet"] = LogitMSE, ConvNet
data.DATASETS["few_digits"] = few_digits


def get_config(variant=""):
    config = default.create("ConvNet", ["resnet20"], variant)
    config.imports = ("examples.own_method",)  # where other commands find the classes
    config.teacher.checkpoint = "checkpoints/digits_resnet20"
    config.dataset, config.method, config.num_epochs = "few_digits", "LogitMSE", 20
    return config
