"""SIGTERM and SIGINT: a run ends after its current step."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class RunEndedError(Exception):
    """A run that ended because of a signal, and can be resumed.

    Attributes:
      exit_code: 128 + the signal's number, as in shells.
    """

    def __init__(self, number: int | None, how: str) -> None:
        """Creates the error.

        Args:
          number: of the signal, or None if another process received it.
          how: the end of the sentence "ended by SIGNAL".
        """
        number = number or signal.SIGTERM
        self.exit_code = 128 + number
        name = signal.Signals(number).name
        super().__init__(f"ended by {name}{how}; the same command resumes it")


class Interruption:
    """A context in which the first signal requests an end, and the second one kills.

    Attributes:
      number: of the signal that was received, or None.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        """Creates the context; `announce` is called with a line at the first signal."""
        self.number: int | None = None
        self._announce = announce
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is not threading.main_thread():
            return self  # Python handles signals in the main thread only
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def is_requested(self) -> bool:
        """Returns whether a signal was received."""
        return self.number is not None

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.number = number
        name = signal.Signals(number).name
        self._announce(
            f"{name}: ending after the current step; a second signal ends at once"
        )
