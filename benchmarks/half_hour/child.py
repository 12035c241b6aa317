"""Runs tasks in processes of their own: a crash or a time limit ends only the task.

`python -m benchmarks.half_hour.child TASK ARGUMENTS RESULT` runs a task with arguments
from JSON and writes its return value to a file. It ends when its parent does.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parent.parent.parent
KEPT_OUTPUT = 1500
"""Characters of a failed task's standard error that are kept."""
GRACE_PERIOD = 20.0
"""Seconds between SIGTERM and SIGKILL, in which a run writes its checkpoint."""


class Ended(NamedTuple):
    """The result of a task.

    Attributes:
      returncode: of its process; None if its time was over.
      result: its return value, or None.
      said: the last of its standard error.
    """

    returncode: int | None
    result: Any
    said: str


def run(
    task: str,
    arguments: dict[str, Any],
    seconds: float,
    *,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Ended:
    """Runs a task and waits for it.

    Args:
      task: MODULE:FUNCTION in this package.
      arguments: of the function.
      seconds: after which it gets SIGTERM, and later SIGKILL.
      environment: variables added to those of this process.
      folder: working directory.
      meanwhile: is called about once a second.
    """
    with tempfile.TemporaryDirectory() as temporary:
        result = Path(temporary) / "result.json"
        said = Path(temporary) / "stderr"
        end = time.monotonic() + seconds
        with said.open("wb") as errors:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.half_hour.child", task),
                    *(json.dumps(arguments), str(result)),
                ],
                stdin=subprocess.PIPE,  # closes when this process ends
                stdout=sys.stderr,
                stderr=errors,
                cwd=folder,
                env=os.environ
                | {"PYTHONPATH": _python_path(), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
                | (environment or {}),
            )
        returncode: int | None
        try:
            returncode = _wait(process, end, meanwhile)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdin is not None, "stdin is a pipe"
            process.stdin.close()
        content = json.loads(result.read_text()) if result.exists() else None
        return Ended(returncode, content, said.read_text("utf8", "replace"))


def _python_path() -> str:
    """Returns PYTHONPATH with this repository first."""
    return os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])


def _wait(
    process: subprocess.Popen[bytes], end: float, meanwhile: Callable[[], None]
) -> int | None:
    """Returns the exit code, or None if the time was over."""
    while True:
        try:
            return process.wait(timeout=max(0.0, min(1.0, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            meanwhile()
        if time.monotonic() >= end:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=GRACE_PERIOD)
            except subprocess.TimeoutExpired:
                process.kill()
            return None


def _end_with_the_parent() -> None:
    def wait() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    _end_with_the_parent()
    task, arguments, result = sys.argv[1:]
    from benchmarks.half_hour import stand_ins

    missing = stand_ins.install()
    from da_jax.training.compilation import configure_compiler

    configure_compiler()
    module, _, function = task.partition(":")
    tasks = importlib.import_module(f"benchmarks.half_hour.{module}")
    returned = getattr(tasks, function)(**json.loads(arguments))
    content = {"figures": returned, "stand_ins": missing}
    temporary = Path(f"{result}.tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(result)


if __name__ == "__main__":
    main()
