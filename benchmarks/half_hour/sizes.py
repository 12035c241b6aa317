"""Sizes of the benchmark: the full one and the rehearsal."""

import dataclasses

Pair = tuple[str, str]
"""Teacher and student."""


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of each part.

    Attributes:
      name: in the output's files.
      pairs: networks of the speed benchmarks.
      batch_sizes: of step times; epoch, graph and student times use the first.
      precisions: likewise.
      steps: training steps in a timed round.
      rounds: number of timed rounds; contestants take turns.
      epoch_images: training images in a timed epoch.
      test_images: test images in a timed epoch.
      epoch_rounds: number of timed epochs.
      students: number of students trained together.
      digits_steps: training steps on digits.
      deterministic_steps: training steps after which two runs are compared.
      trajectories: golden vectors that are compared.
      training: the trained pair.
      seeds: of its runs; KD and KD + DA for each.
      teacher: network that is trained from scratch at the end.
      epochs: of a run; 0 for the config's.
      batch_size: of a run; 0 for the config's.
      train_images: size of the training set; 0 for all of it.
      save_every: seconds between two archives of a run.
    """

    name: str
    pairs: tuple[Pair, ...]
    batch_sizes: tuple[int, ...]
    precisions: tuple[str, ...]
    steps: int
    rounds: int
    epoch_images: int
    test_images: int
    epoch_rounds: int
    students: int
    digits_steps: int
    deterministic_steps: int
    trajectories: tuple[str, ...]
    training: Pair
    seeds: tuple[int, ...]
    teacher: str
    epochs: int
    batch_size: int
    train_images: int
    save_every: float


FULL = Size(
    name="full",
    pairs=(("resnet56", "resnet20"), ("resnet32x4", "resnet8x4")),
    batch_sizes=(64, 256),
    precisions=("tensorfloat32", "bfloat16"),
    steps=50,
    rounds=5,
    epoch_images=50_000,
    test_images=10_000,
    epoch_rounds=1,
    students=5,
    digits_steps=10,
    deterministic_steps=20,
    trajectories=("kd", "da_1step", "da_3steps"),
    training=("resnet56", "resnet20"),
    seeds=(0, 1, 2, 3, 4),
    teacher="resnet32x4",
    epochs=0,
    batch_size=0,
    train_images=0,
    save_every=60.0,
)

REHEARSAL = Size(
    name="rehearsal",
    pairs=(("resnet20", "resnet8"),),
    batch_sizes=(8, 16),
    precisions=("tensorfloat32", "bfloat16"),
    steps=1,
    rounds=1,
    epoch_images=32,
    test_images=16,
    epoch_rounds=1,
    students=2,
    digits_steps=10,
    deterministic_steps=4,
    trajectories=("kd", "da_1step"),
    training=("resnet20", "resnet8"),
    seeds=(0,),
    teacher="resnet8",
    epochs=4,
    batch_size=32,
    train_images=192,
    save_every=1.0,
)
