"""The gallery of a few test images that TensorBoard shows during training.

It only reads the student: the run's results are the same without it.
"""

import dataclasses

import flax.linen as nn
import numpy as np

from da_jax.analysis.gallery import (
    BoundNetwork,
    Gallery,
    create_gallery,
    sample_images,
)
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data import Dataset, Examples
from da_jax.models.forward import Variables, without_axis
from da_jax.training.writers import Summaries

STEPS = (0, 1, 5, 10)
NUM_IMAGES = 4


@dataclasses.dataclass(frozen=True)
class TrainingGallery:
    """A function from the student's variables to the summaries of its gallery.

    It shows the same images each time.

    Attributes:
      student: the student's module; it may have a pmapped axis.
      teacher: the teacher, with its variables on the host.
      names: of the student and the teacher.
      dataset: for its preprocessing and class names.
      examples: the images are sampled from these, on the host.
      augmentation: the ascent.
      learning_rate: its α, in units of normalised pixels.
    """

    student: nn.Module
    teacher: BoundNetwork
    names: tuple[str, str]
    dataset: Dataset
    examples: Examples
    augmentation: DisagreementAugmentation
    learning_rate: float

    def __call__(self, student: Variables) -> Summaries | None:
        """Returns the pages, mean disagreements and pixel changes after some steps.

        It is None for a student that has diverged.
        """
        gallery = self.ascend(student)
        if not gallery.is_finite:
            return None
        suffixes = [f"after_{taken}_steps" for taken in gallery.steps]
        means = gallery.disagreement.mean(axis=1)
        return Summaries(
            images={"gallery": self.draw(gallery)},
            scalars={
                f"gallery/disagreement_{suffix}": float(mean)
                for suffix, mean in zip(suffixes, means, strict=True)
            },
            histograms={
                f"gallery/distance_{suffix}": changes
                for suffix, changes in zip(suffixes, gallery.pixel_changes, strict=True)
                if changes.any()
            },
        )

    def ascend(self, student: Variables) -> Gallery:
        """Moves the images, with the student's current variables."""
        count = len(self.examples.labels)
        return create_gallery(
            BoundNetwork(without_axis(self.student), student),
            BoundNetwork(without_axis(self.teacher.network), self.teacher.variables),
            self.examples,
            self.dataset.preprocessing,
            sample_images(min(NUM_IMAGES, count), count, seed=0),
            steps=STEPS,
            learning_rate=self.learning_rate,
            augmentation=self.augmentation,
        )

    def draw(self, gallery: Gallery) -> np.ndarray:
        """Draws the pages of a gallery, uint8 `[pages, H, W, 3]`."""
        from da_jax.analysis.pictures import canvas  # matplotlib is the extra `plots`
        from da_jax.analysis.pictures import gallery as drawing

        figures = drawing.draw(
            gallery, self.dataset.preprocessing, self.dataset.class_names, *self.names
        )
        return np.stack([canvas.pixels(figure) for figure in figures])
