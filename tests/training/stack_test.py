"""How deep the stack is at the first gradient of a run."""

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
MOST_FRAMES = 12
PROGRAM = """
import os, runpy, sys, traceback
import jax

package = sys.argv.pop(1) + os.sep

def print_frames(*arguments, **options):
    for frame in traceback.extract_stack():
        if frame.filename.startswith(package):
            file = frame.filename.removeprefix(package)
            print(f"{file}:{frame.lineno} {frame.name}", flush=True)
    os._exit(0)

jax.value_and_grad = lambda *arguments, **options: print_frames
runpy.run_module("da_jax.main", run_name="__main__", alter_sys=True)
"""


def test_few_of_our_frames_are_above_the_first_gradient(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM, str(REPOSITORY / "da_jax")),
            *("--config=configs/digits.py", f"--workdir={tmp_path / 'run'}"),
            "--config.disagreement.probability=1.0",
        ],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stderr
    frames = re.findall(r"^[\w/]+\.py:\d+ .*$", done.stdout, re.MULTILINE)
    assert "ascent/ascend.py" in frames[-1]
    assert len(frames) <= MOST_FRAMES, "\n".join(frames)
