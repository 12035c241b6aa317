"""Many commands in one go: a process imports what they need, then forks for each.

As a program it reads a JSON list of commands, each a list of a module and its
arguments, and writes a JSON list of their exit codes and what they said.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parent.parent


class Ended(NamedTuple):
    """How a command has ended."""

    returncode: int
    stdout: str
    stderr: str


def run_all(commands: list[tuple[str, ...]]) -> list[Ended]:
    """The ends of `commands`, each a module and its arguments."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.command_runs"],
        input=json.dumps([[str(word) for word in command] for command in commands]),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stderr
    return [Ended(*ended) for ended in json.loads(done.stdout)]


class Child:
    """A command in a process of its own."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._said = [tempfile.TemporaryFile() for _ in range(2)]
        self._process = os.fork()
        if self._process == 0:
            for stream, file in enumerate(self._said, start=1):
                os.dup2(file.fileno(), stream)
            sys.argv = [module, *arguments]
            sys.orig_argv = ["python", "-m", *sys.argv]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            sys.stdout.flush()
            os._exit(0)

    def end(self) -> Ended:
        """Waits for it."""
        _, status = os.waitpid(self._process, 0)
        said = []
        for file in self._said:
            file.seek(0)
            said.append(file.read().decode())
            file.close()
        return Ended(os.waitstatus_to_exitcode(status), *said)


def main() -> None:
    import da_jax.convert.state_dict
    import sklearn.datasets
    import sklearn.model_selection  # noqa: F401

    import da_jax.training.train  # noqa: F401

    commands = json.load(sys.stdin)
    ended: list[Ended] = []
    while commands:
        at_once = [Child(*command) for command in commands[: os.cpu_count()]]
        ended += [child.end() for child in at_once]
        commands = commands[len(at_once) :]
    json.dump(ended, sys.stdout)


if __name__ == "__main__":
    main()
