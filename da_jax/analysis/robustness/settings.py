"""The settings of a measurement. This module doesn't import JAX."""

import dataclasses

PARTS = ("disagreement", "attacks", "corruptions")
"""The measurements, in the order in which they run."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The hyperparameters of a measurement.

    Attributes:
      steps: E, of Disagreement Augmentation.
      learning_rate: its α, in units of normalised pixels; the default is the paper's.
      batch_size: its batch size, part of the algorithm; the last batch may be shorter.
      budgets: the largest changes of a pixel by an attack, in 255ths.
      iterations: of PGD and APGD.
      seed: of the attacks' random starts and the noise, combined with each example's
        index.
    """

    steps: int = 20
    learning_rate: float = 0.01778
    batch_size: int = 64
    budgets: tuple[float, ...] = (1, 2, 4, 8)
    iterations: int = 20
    seed: int = 0
