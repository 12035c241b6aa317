"""The same training step in eager PyTorch, for comparison.

It is idiomatic PyTorch: `torch.nn` modules, data on the device, crop and flip by
indexing, and a new Adam for the ascent of each batch.
"""

import dataclasses
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.task import TaskSpec
from da_jax.data import Examples

FILTERS = {"": (16, 16, 32, 64), "x4": (32, 64, 128, 256)}
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
PADDING = 4


class Block(nn.Module):
    """A residual block of two 3×3 convolutions."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != filters:
            self.shortcut.append(nn.Conv2d(inputs, filters, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(filters))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps `[B, C, H, W]` to `[B, filters, H / stride, W / stride]`."""
        x = functional.relu(self.bn1(self.conv1(inputs)))
        return functional.relu(self.bn2(self.conv2(x)) + self.shortcut(inputs))


def resnet(name: str, num_classes: int = 100) -> nn.Module:
    """Creates a CIFAR ResNet: images `[B, 3, 32, 32]` to logits.

    Args:
      name: mdistiller's, such as `resnet8x4`.
      num_classes: width of the logits.
    """
    depth, _, wide = name.removeprefix("resnet").partition("x")
    stem, *stages = FILTERS["x4" if wide else ""]
    layers = [nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()]
    inputs = stem
    for stage, filters in enumerate(stages):
        for index in range(int(depth) // 6):
            layers.append(Block(inputs, filters, 2 if stage and not index else 1))
            inputs = filters
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(inputs, num_classes))


@dataclasses.dataclass
class Trainer:
    """Training steps of KD, with or without Disagreement Augmentation.

    Attributes:
      teacher: in eval mode.
      student: in train mode.
      images: uint8 `[N, 3, 32, 32]`, on the device.
      labels: `[N]`.
      probability: of augmenting a batch.
      precision: a key of `da_jax.models.network.PRECISIONS`; bfloat16 by autocast.
    """

    teacher: nn.Module
    student: nn.Module
    images: torch.Tensor
    labels: torch.Tensor
    probability: float
    precision: str = "tensorfloat32"

    def __post_init__(self) -> None:
        self.teacher.eval().requires_grad_(False)
        self.student.train()
        self._optimizer = torch.optim.SGD(
            self.student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4
        )
        device = self.images.device
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(STD, device=device).view(1, 3, 1, 1)

    def step(self, indices: torch.Tensor) -> torch.Tensor:
        """Takes a training step on the examples `indices` and returns the loss."""
        images, labels = self._crop_and_flip(self.images[indices]), self.labels[indices]
        images = self._normalize(images)
        with self._autocast():
            if random.random() < self.probability:
                images = self._ascend(images)
            student_logits = self.student(images)
            with torch.no_grad():
                teacher_logits = self.teacher(images)
        loss = self._loss(student_logits.float(), teacher_logits.float(), labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def accuracy(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Computes the student's accuracy on uint8 images `[B, 3, 32, 32]`."""
        self.student.eval()
        with self._autocast():
            logits = self.student(self._normalize(images))
        self.student.train()
        return (logits.argmax(dim=1) == labels).float().mean()

    def _autocast(self) -> torch.autocast:
        tensorfloat32 = self.precision == "tensorfloat32"
        torch.backends.cudnn.allow_tf32 = tensorfloat32
        torch.backends.cuda.matmul.allow_tf32 = tensorfloat32
        return torch.autocast(
            self.images.device.type, torch.bfloat16, self.precision == "bfloat16"
        )

    def _normalize(self, images: torch.Tensor) -> torch.Tensor:
        return (images.float() / 255 - self._mean) / self._std

    def _crop_and_flip(self, images: torch.Tensor) -> torch.Tensor:
        batch, _, size, _ = images.shape
        padded = functional.pad(images, (PADDING,) * 4)
        device = images.device
        rows = torch.randint(0, 2 * PADDING + 1, (batch, 1), device=device)
        columns = torch.randint(0, 2 * PADDING + 1, (batch, 1), device=device)
        span = torch.arange(size, device=device)
        flips = torch.rand(batch, 1, device=device) < 0.5
        across = torch.where(flips, size - 1 - span, span) + columns
        batches = torch.arange(batch, device=device)[:, None, None]
        down = (span + rows)[:, :, None]
        cropped = padded.permute(0, 2, 3, 1)[batches, down, across[:, None, :]]
        return cropped.permute(0, 3, 1, 2).contiguous()

    def _ascend(self, images: torch.Tensor) -> torch.Tensor:
        images = images.requires_grad_()
        adam = torch.optim.Adam([images], lr=0.01778, maximize=True)
        student_logits = functional.normalize(self.student(images).float(), p=1, dim=1)
        teacher_logits = functional.normalize(self.teacher(images).float(), p=1, dim=1)
        disagreement = functional.mse_loss(student_logits, teacher_logits)
        (images.grad,) = torch.autograd.grad(disagreement, images)
        adam.step()
        return images.detach()

    def _loss(
        self,
        student_logits: torch.Tensor,
        teacher_logits: torch.Tensor,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        log_student = functional.log_softmax(student_logits / 4, dim=1)
        soft_teacher = functional.softmax(teacher_logits / 4, dim=1)
        kd = 16 * functional.kl_div(log_student, soft_teacher, reduction="batchmean")
        return 0.1 * functional.cross_entropy(student_logits, labels) + 0.9 * kd


def on_device(examples: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts uint8 images `[N, 3, 32, 32]` and labels `[N]` on the GPU, if any."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.from_numpy(examples.images).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(examples.labels.astype(np.int64))
    return images.to(device), labels.to(device)


def create_trainer(spec: TaskSpec, examples: Examples, compiled: bool) -> Trainer:
    """Creates a trainer of one student, compiled by torch.compile if `compiled`."""
    torch.backends.cudnn.benchmark = True
    images, labels = on_device(examples)
    teacher = resnet(spec.teacher).to(images.device)
    student = resnet(spec.student).to(images.device)
    if compiled:
        teacher.compile()
        student.compile()
    probability = spec.probability or 0.0
    return Trainer(teacher, student, images, labels, probability, spec.precision)
