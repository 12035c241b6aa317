"""mdistiller's CIFAR ResNets in plain PyTorch: `python tests/plain_torch.py WEIGHTS …`.

As a user of PyTorch would write them, by mdistiller's names. As a program it loads an
exported resnet8, and writes its logits of the images in a `.npy` file to another.
"""

import sys

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, inputs, filters, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, filters, 1, stride, bias=False),
                nn.BatchNorm2d(filters),
            )

    def forward(self, inputs):
        x = functional.relu(self.bn1(self.conv1(inputs)))
        shortcut = self.downsample(inputs) if self.downsample else inputs
        return functional.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet(nn.Module):
    def __init__(self, depth, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks = (depth - 2) // 6
        for stage, (inputs, filters) in enumerate([(16, 16), (16, 32), (32, 64)]):
            first = Block(inputs, filters, 1 if stage == 0 else 2)
            rest = [Block(filters, filters, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
        self.fc = nn.Linear(64, num_classes)

    def forward(self, images):
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


def load(path):
    """The state dict in an exported file, as its documentation says."""
    if path.endswith(".safetensors"):
        return safetensors.torch.load_file(path)
    return torch.load(path)["model"]


@torch.no_grad()
def main():
    weights, images, output = sys.argv[1:]
    state_dict = load(weights)
    model = ResNet(8, len(state_dict["fc.bias"]))
    model.load_state_dict(state_dict)
    batch = torch.from_numpy(np.load(images)).permute(0, 3, 1, 2)
    np.save(output, model.eval()(batch).numpy())
    assert not {"jax", "flax", "da_jax"} & sys.modules.keys()


if __name__ == "__main__":
    main()
