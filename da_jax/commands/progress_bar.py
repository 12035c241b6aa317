"""What the commands that train show of a run: a progress bar and lines above it."""

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from da_jax.commands.banner import banner
from da_jax.training.callbacks import Callbacks
from da_jax.training.metrics import Record, console_line
from da_jax.training.results import augmentation_name
from da_jax.training.run import Run


class SignalsOnly(Callbacks):
    """What processes other than the first show: that a signal has come."""

    def warn(self, line: str) -> None:
        """Prints a line on standard error."""
        # A signal may come while the bar holds its lock.
        sys.stderr.write(f"{line}\n")


class ProgressBar(SignalsOnly):
    """A bar over the images of all epochs, on a terminal, and a line for each epoch.

    The environment variable `NO_COLOR` turns colours off.
    """

    def __init__(self) -> None:
        """Shows nothing yet."""
        self._console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            speed_estimate_period=300.0,  # some epochs end with an evaluation
        )
        self._task: TaskID | None = None
        self._augmentation = ""

    def started(self, run: Run, history: list[Record], num_parameters: int) -> None:
        """Prints what is trained, and starts the bar."""
        for label, text in banner(run, history, num_parameters):
            self._print(Text.assemble((f"{label:10}", "bold"), text))
        self._augmentation = augmentation_name(run.record)
        self._bar(run.num_images(run.options.num_epochs), run.num_images(len(history)))

    def status(self, text: str) -> None:
        """Sets the bar's description."""
        self._progress.update(self._bar(), description=text)

    def images_processed(self, count: int) -> None:
        """Moves the bar."""
        self._progress.advance(self._bar(), count)

    def epoch_finished(self, record: Record) -> None:
        """Prints the epoch's metrics."""
        self.log(console_line(record, self._augmentation))

    def log(self, line: str) -> None:
        """Prints a line above the bar."""
        self._print(Text(line))

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._progress.stop()

    def _bar(self, total: int | None = None, completed: int = 0) -> TaskID:
        """Returns the bar, which the first call starts."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("", total=total, completed=completed)
        return self._task

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)
