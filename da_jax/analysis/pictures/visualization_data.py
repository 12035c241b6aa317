"""The inputs of the pictures: a teacher, one or two students, and a test set."""

import dataclasses
from collections.abc import Sequence

from da_jax.analysis.predictions import Predictions, predict
from da_jax.analysis.pretrained import Pretrained
from da_jax.data import Dataset


@dataclasses.dataclass(frozen=True)
class PictureOptions:
    """The options of the gallery and the t-SNE plot.

    Attributes:
      images: indices of the gallery's test images.
      steps: of the gallery's ascent, increasing from 0.
      learning_rate: of the gallery's ascent, in units of normalised pixels.
      classes: labels in the t-SNE plot.
      images_per_class: in the t-SNE plot.
      seed: of the t-SNE plot.
    """

    images: Sequence[int]
    steps: Sequence[int]
    learning_rate: float
    classes: Sequence[int]
    images_per_class: int
    seed: int


@dataclasses.dataclass(eq=False)
class NamedNetwork:
    """A network and its name in the pictures."""

    name: str
    pretrained: Pretrained


class VisualizationData:
    """Networks, a data set and cached predictions.

    Attributes:
      teacher: the network that students are compared with.
      students: one or two.
      dataset: the pictures show its test set.
      options: of the pictures.
    """

    def __init__(
        self,
        teacher: Pretrained,
        students: Sequence[Pretrained],
        dataset: Dataset,
        options: PictureOptions,
    ) -> None:
        names = network_names([teacher, *students])
        self.teacher = NamedNetwork(names[0], teacher)
        self.students = [
            NamedNetwork(name, student)
            for name, student in zip(names[1:], students, strict=True)
        ]
        self.dataset = dataset
        self.options = options
        self._predictions: dict[NamedNetwork, Predictions] = {}

    @property
    def networks(self) -> list[NamedNetwork]:
        """The students, then the teacher."""
        return [*self.students, self.teacher]

    def predictions(self, network: NamedNetwork) -> Predictions:
        """Returns the cached outputs for the test set."""
        if network not in self._predictions:
            self._predictions[network] = predict(network.pretrained, self.dataset)
        return self._predictions[network]

    def accuracy(self, network: NamedNetwork) -> float | None:
        """Returns the top-1 accuracy in %, or None if there are no cached outputs."""
        if network not in self._predictions:
            return None
        is_right = self._predictions[network].is_right(self.dataset.test.labels)
        return 100 * float(is_right.mean())


def network_names(networks: Sequence[Pretrained]) -> list[str]:
    """Returns the architectures; equal ones get the name of their folder or run."""
    models = [network.model for network in networks]
    return [
        model if models.count(model) == 1 else f"{model} ({_origin(network)})"
        for model, network in zip(models, networks, strict=True)
    ]


def _origin(network: Pretrained) -> str:
    folder = network.folder.absolute()
    is_in_run = folder.name == "best" or folder.name.startswith("seed_")
    return folder.parent.name if is_in_run else folder.name
