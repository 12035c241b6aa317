"""What is measured, and how; known without importing JAX."""

import dataclasses

PARTS = ("disagreement", "attacks", "corruptions")
"""What can be measured, in this order."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The numbers of a measurement.

    Attributes:
      steps: of Disagreement Augmentation, the last that is recorded.
      learning_rate: its α, in units of normalised pixels; the default is the paper's.
      batch_size: its batches, which are part of the algorithm; the last may be shorter.
      budgets: how far an attack may move a pixel, in 255ths.
      iterations: of PGD and APGD.
      seed: of the attacks' starts and the noise; each example has its own from it.
    """

    steps: int = 20
    learning_rate: float = 0.01778
    batch_size: int = 64
    budgets: tuple[float, ...] = (1, 2, 4, 8)
    iterations: int = 20
    seed: int = 0
