"""What the commands that train show of a run: a progress bar and lines above it."""

import sys
from typing import Any

from tqdm import tqdm

from da_jax.training.callbacks import Callbacks
from da_jax.training.metrics import console_line


class SignalsOnly(Callbacks):
    """What processes other than the first show: that a signal has come."""

    def warn(self, line: str) -> None:
        """Prints a line on standard error."""
        # A signal may come while tqdm holds its lock.
        sys.stderr.write(f"{line}\n")


class ProgressBar(SignalsOnly):
    """A bar over the images of all epochs, on a terminal, and a line for each epoch."""

    def __init__(self) -> None:
        """Shows nothing yet."""
        self._bar = tqdm(unit="img", unit_scale=True, disable=None)

    def started(self, total_images: int, trained_images: int) -> None:
        """Sets the bar's length."""
        self._bar.reset(total_images)
        self._bar.n = self._bar.last_print_n = self._bar.initial = trained_images
        self._bar.refresh()

    def status(self, text: str) -> None:
        """Sets the bar's description."""
        self._bar.set_description(text)

    def images_trained(self, count: int) -> None:
        """Moves the bar."""
        self._bar.update(count)

    def epoch_finished(self, record: dict[str, Any]) -> None:
        """Prints the epoch's metrics."""
        self.log(console_line(record))

    def log(self, line: str) -> None:
        """Prints a line above the bar."""
        tqdm.write(line)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()
