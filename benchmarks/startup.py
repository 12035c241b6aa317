"""Times the start of training, with and without compiled programs.

python -m benchmarks.startup --config configs/digits.py

A start takes from the command to the end of the first training step. Cold starts have
an empty compilation cache; warm starts have the cache of a cold start.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import measure
from da_jax.training.epoch import FIRST_STEP


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--config", default="configs/digits.py")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("overrides", nargs="*", help="--config.FIELD=VALUE, after --")
    return parser.parse_args()


def seconds_to_first_step(arguments: argparse.Namespace, cache: Path) -> float:
    """Starts the main command and stops it after its first step.

    Raises:
      RuntimeError: it ended before its first step; contains its last line of output.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = (
            *(sys.executable, "-m", "da_jax.main", f"--config={arguments.config}"),
            *(f"--workdir={folder}/run", *arguments.overrides),
        )
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(cache),
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = ""
        try:
            for said in process.stdout:
                if said.startswith(FIRST_STEP):
                    return time.perf_counter() - start
        finally:
            process.kill()
            process.wait()
    raise RuntimeError(f"no first step; the command's last words: {said}")


def main() -> None:
    arguments = parse_arguments()
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as cache:
            for start in seconds.values():
                start.append(seconds_to_first_step(arguments, Path(cache)))
    timings = {name: measure.Timing(values) for name, values in seconds.items()}
    rows = [
        (arguments.config, name, timing.median, timing.spread)
        for name, timing in timings.items()
    ]
    header = ("config", "start", "s to the first step", "spread")
    measure.report(header, rows, arguments.json)


if __name__ == "__main__":
    main()
