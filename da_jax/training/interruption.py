"""SIGTERM and SIGINT: a run is asked to end, and ends after its step."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class RunEndedError(Exception):
    """A run ended as it was asked to, with nothing lost.

    Attributes:
      exit_code: 128 and the signal's number, as shells have it.
    """

    def __init__(self, number: int | None, how: str) -> None:
        """By the signal `number` (None: another process's); `how` follows its name."""
        number = number or signal.SIGTERM
        self.exit_code = 128 + number
        name = signal.Signals(number).name
        super().__init__(f"ended by {name}{how}; the same command goes on from there")


class Interruption:
    """A context in which a first signal is a request, and a second one ends at once.

    Attributes:
      number: of the signal that came, or None.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        """Calls `announce` with a line for the user at the first signal."""
        self.number: int | None = None
        self._announce = announce
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is not threading.main_thread():
            return self  # Python's signals are the main thread's
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
        """Whether a signal has come."""
        return self.number is not None

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.number = number
        name = signal.Signals(number).name
        self._announce(
            f"{name}: this ends after the step under way, and nothing is lost; a second"
            " signal ends it at once"
        )
