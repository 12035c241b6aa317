"""What pictures are drawn of: a teacher, one or two students, and a test set."""

import dataclasses
from collections.abc import Sequence

from da_jax.analysis.predictions import Predictions, predict
from da_jax.analysis.pretrained import Pretrained
from da_jax.data import Dataset


@dataclasses.dataclass(frozen=True)
class Options:
    """What is shown of them.

    Attributes:
      images: of the gallery, where in the test set they are.
      steps: of its ascent, ascending from 0.
      learning_rate: of its ascent.
      classes: of the t-SNE.
      images_per_class: of the t-SNE.
      seed: of the t-SNE.
    """

    images: Sequence[int]
    steps: Sequence[int]
    learning_rate: float
    classes: Sequence[int]
    images_per_class: int
    seed: int


@dataclasses.dataclass(eq=False)
class Subject:
    """A network and the name it has in the pictures."""

    name: str
    network: Pretrained


class Study:
    """The networks, their data and the predictions that have been needed so far.

    Attributes:
      teacher: what students are compared with.
      students: one or two.
      dataset: whose test set is looked at.
      options: what of it.
    """

    def __init__(
        self,
        teacher: Pretrained,
        students: Sequence[Pretrained],
        dataset: Dataset,
        options: Options,
    ) -> None:
        names = network_names([teacher, *students])
        self.teacher = Subject(names[0], teacher)
        self.students = [
            Subject(name, student)
            for name, student in zip(names[1:], students, strict=True)
        ]
        self.dataset = dataset
        self.options = options
        self._predictions: dict[Subject, Predictions] = {}

    @property
    def subjects(self) -> list[Subject]:
        """The students and then the teacher, as they stand side by side."""
        return [*self.students, self.teacher]

    def predictions(self, subject: Subject) -> Predictions:
        """A network's outputs for the whole test set, computed once."""
        if subject not in self._predictions:
            self._predictions[subject] = predict(subject.network, self.dataset)
        return self._predictions[subject]

    def accuracy(self, subject: Subject) -> float | None:
        """Top-1 in %, if the predictions have been needed."""
        if subject not in self._predictions:
            return None
        is_right = self._predictions[subject].is_right(self.dataset.test.labels)
        return 100 * float(is_right.mean())


def network_names(networks: Sequence[Pretrained]) -> list[str]:
    """The architectures, with what tells those that are of the same one apart."""
    models = [network.model for network in networks]
    return [
        model if models.count(model) == 1 else f"{model} ({_origin(network)})"
        for model, network in zip(models, networks, strict=True)
    ]


def _origin(network: Pretrained) -> str:
    folder = network.folder.absolute()
    is_of_a_run = folder.name == "best" or folder.name.startswith("seed_")
    return folder.parent.name if is_of_a_run else folder.name
