"""How much is measured: the real thing, and its rehearsal."""

import dataclasses

Pair = tuple[str, str]
"""Teacher and student."""


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of every part.

    Attributes:
      name: what the output's files call it.
      pairs: of networks whose speed is measured.
      batch_sizes: of the speed; the epoch, graph and student timings use the first.
      precisions: likewise.
      steps: of training, in each timed round.
      rounds: that are timed; contestants take turns.
      epoch_images: that a timed epoch trains on.
      test_images: that it evaluates.
      epoch_rounds: epochs that are timed.
      students: how many are trained side by side.
      digits_steps: of training on digits.
      deterministic_steps: after which two runs are compared.
      trajectories: of the golden vectors.
      training: the pair that is trained.
      seeds: of its runs; KD and KD + DA for each.
      teacher: the network that is trained from scratch at the end.
      epochs: of a run; 0 for the config's.
      batch_size: of a run; 0 for the config's.
      train_images: how much of the training set is there; 0 for all of it.
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
