"""What a caller may watch of a run; nothing here prints."""

from typing import TYPE_CHECKING

from da_jax.training.metrics import Record

if TYPE_CHECKING:
    from da_jax.training.run import Run


class Callbacks:
    """Ignores everything; a command overrides what it shows."""

    def started(self, run: "Run", history: list[Record], num_parameters: int) -> None:
        """Is called once, before the first step.

        Args:
          run: what is trained.
          history: the records of the epochs before, of a run that is resumed.
          num_parameters: of a student.
        """

    def status(self, text: str) -> None:
        """Is called with what is under way, such as `epoch 2/240`."""

    def images_processed(self, count: int) -> None:
        """Is called after each program, with how many images it trained or evaluated.

        They are those of all students.
        """

    def epoch_finished(self, record: Record) -> None:
        """Is called with the epoch's metrics, see `da_jax.training.metrics`."""

    def log(self, line: str) -> None:
        """Is called with a line for the user."""

    def warn(self, line: str) -> None:
        """Is called with a line for the user about something unexpected."""
