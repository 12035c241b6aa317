"""What a caller may watch of a run; nothing here prints."""

from typing import Any


class Callbacks:
    """Ignores everything; a command overrides what it shows."""

    def started(self, total_images: int, trained_images: int) -> None:
        """Is called once, with how many images all epochs take and took already."""

    def status(self, text: str) -> None:
        """Is called with what is under way, such as `epoch 2/240`."""

    def images_trained(self, count: int) -> None:
        """Is called after each program of training steps."""

    def epoch_finished(self, record: dict[str, Any]) -> None:
        """Is called with the epoch's metrics, see `da_jax.training.metrics`."""

    def log(self, line: str) -> None:
        """Is called with a line for the user."""

    def warn(self, line: str) -> None:
        """Is called with a line for the user about something unexpected."""
