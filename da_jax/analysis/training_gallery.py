"""What a run shows of a few test images in TensorBoard, every so many epochs.

The student is only read: a run's numbers are the same without.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from da_jax.analysis.gallery import Gallery, choose_images, create_gallery
from da_jax.analysis.pretrained import Pretrained
from da_jax.config.configuration import create_ascent
from da_jax.data import Dataset, Examples
from da_jax.training.state import Problem, Variables

STEPS = (0, 1, 5, 10)
NUM_IMAGES = 4


@dataclasses.dataclass(frozen=True)
class TrainingGallery:
    """The same test images each time; on the host and, in between, on one device.

    Attributes:
      config: the run's.
      student: the network that learns, on no axis of devices.
      teacher: the network that it learns from.
      dataset: of the run.
      examples: of which a few are shown, those by which epochs are judged.
    """

    config: ConfigDict
    student: Any
    teacher: Pretrained
    dataset: Dataset
    examples: Examples

    def ascend(self, student: Variables) -> Gallery:
        """The images' ascent, with the student as it is now, on the host."""
        count = len(self.examples.labels)
        augmentation, learning_rate = create_ascent(self.config)
        return create_gallery(
            dataclasses.replace(
                self.teacher,
                model=self.config.student,
                network=self.student,
                variables=student,
            ),
            self.teacher,
            self.examples,
            self.dataset.preprocessing,
            choose_images(min(NUM_IMAGES, count), count, seed=0),
            steps=STEPS,
            learning_rate=learning_rate,
            augmentation=augmentation,
        )

    def draw(self, gallery: Gallery) -> np.ndarray:
        """The pages as uint8 `[pages, H, W, 3]`."""
        from da_jax.analysis.pictures import canvas  # matplotlib is the extra `plots`
        from da_jax.analysis.pictures import gallery as drawing

        figures = drawing.draw(
            gallery,
            self.dataset.preprocessing,
            self.dataset.class_names,
            self.config.student,
            self.teacher.model,
        )
        return np.stack([canvas.pixels(figure) for figure in figures])


def create_training_gallery(
    config: ConfigDict,
    problem: Problem,
    dataset: Dataset,
    examples: Examples,
    teacher: Variables | None,
) -> TrainingGallery | None:
    """The gallery of a run with this `teacher`, if its config asks for one."""
    if not config.gallery_every:
        return None
    assert problem.teacher is not None and teacher is not None, (
        "check_config has looked"
    )
    return TrainingGallery(
        config=config,
        student=problem.student.clone(axis_name=None),
        teacher=Pretrained(
            folder=Path(config.teacher.checkpoint),
            model=config.teacher.model,
            num_classes=dataset.num_classes,
            network=problem.teacher.clone(axis_name=None),
            variables=teacher,
        ),
        dataset=dataset,
        examples=examples,
    )
