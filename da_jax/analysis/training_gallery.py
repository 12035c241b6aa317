"""What TensorBoard shows of a few test images, every so many epochs of a run.

The student is only read: the run's results are the same without.
"""

import dataclasses
from pathlib import Path

import numpy as np

from da_jax.analysis.gallery import Gallery, create_gallery, sample_images
from da_jax.analysis.pretrained import Pretrained
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data import Examples
from da_jax.models.forward import Variables, without_axis
from da_jax.training.run import Run
from da_jax.training.writers import Summaries

STEPS = (0, 1, 5, 10)
NUM_IMAGES = 4


@dataclasses.dataclass(frozen=True)
class TrainingGallery:
    """Student variables to what TensorBoard shows, of the same images each time.

    Attributes:
      run: a run with a teacher.
      examples: what its epochs are evaluated on, on the host.
      augmentation: the ascent.
      learning_rate: its α, in units of normalised pixels.
    """

    run: Run
    examples: Examples
    augmentation: DisagreementAugmentation
    learning_rate: float

    def __call__(self, student: Variables) -> Summaries | None:
        """Returns the pages, mean disagreements and distances after some steps.

        It is None for a student that has diverged.
        """
        gallery = self.ascend(student)
        if not gallery.is_finite:
            return None
        moments = [f"after_{taken}_steps" for taken in gallery.steps]
        means = gallery.disagreement.mean(axis=1)
        return Summaries(
            images={"gallery": self.draw(gallery)},
            scalars={
                f"gallery/disagreement_{moment}": float(mean)
                for moment, mean in zip(moments, means, strict=True)
            },
            histograms={
                f"gallery/distance_{moment}": of_pixels
                for moment, of_pixels in zip(moments, gallery.distances, strict=True)
                if of_pixels.any()
            },
        )

    def ascend(self, student: Variables) -> Gallery:
        """Moves the images, with the student as it is now."""
        run, count = self.run, len(self.examples.labels)
        assert run.task.teacher is not None and run.teacher is not None
        teacher = Pretrained(
            folder=Path(),
            model=run.names.teacher,
            num_classes=run.dataset.num_classes,
            network=without_axis(run.task.teacher),
            variables=run.teacher,
        )
        return create_gallery(
            dataclasses.replace(
                teacher,
                model=run.names.student,
                network=without_axis(run.task.student),
                variables=student,
            ),
            teacher,
            self.examples,
            run.dataset.preprocessing,
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
            gallery,
            self.run.dataset.preprocessing,
            self.run.dataset.class_names,
            self.run.names.student,
            self.run.names.teacher,
        )
        return np.stack([canvas.pixels(figure) for figure in figures])
