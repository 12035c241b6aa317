"""What a run shows: its description, its compilation, a bar and colours."""

import os
import pty
import re
import subprocess
import sys

import pytest

from da_jax.commands.training import Processes, waiting_line
from da_jax.training.epoch import COMPILING, FIRST_STEP
from tests.command_runs import REPOSITORY, run_all

SHORT = (
    *("da_jax.main", "--config=digits", "--config.num_epochs=1"),
    *("--config.batch_size=360", "--config.eval_batch_size=90"),
    "--config.optimizer.decay_epochs=(1,)",
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(program, *arguments, **variables):
    """What a module or a program writes to a terminal of 120 columns."""
    terminal, its_end = pty.openpty()
    unset = ("NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    environment = {**kept, "XLA_FLAGS": "", "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-m" if arguments else "-c", program, *arguments],
        stdout=its_end,
        stderr=its_end,
        cwd=REPOSITORY,
        env=environment | variables,
    )
    os.close(its_end)
    written = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:  # Linux says so when the process has ended
            break
        if not read:
            break
        written += read
    os.close(terminal)
    assert process.wait() == 0, written.decode()
    return written.decode()


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return on_a_terminal(*SHORT, f"--workdir={tmp_path_factory.mktemp('run') / 'w'}")


def test_a_bar_counts_the_whole_run_and_moves_during_evaluation(shown):
    # Three steps of 360 images, then four batches of 90.
    counts = [int(count) for count in re.findall(r"(\d+)/1440", COLOUR.sub("", shown))]
    assert counts == sorted(counts) and counts[-1] == 1440
    assert "epoch 1/1" in shown


def test_colours_are_for_terminals_without_no_color():
    """A bar alone; `NO_COLOR` leaves bold text, as it is about colours."""
    program = (
        "from da_jax.commands.progress_bar import ProgressBar; bar = ProgressBar();"
        "bar.status('epoch 1/1'); bar.images_processed(1); bar.close()"
    )
    colour = re.compile(r"\x1b\[(\d;)?3\d")
    assert colour.search(on_a_terminal(program))
    plain = on_a_terminal(program, NO_COLOR="1")
    assert "epoch 1/1" in plain and not colour.search(plain)


def test_a_file_gets_lines_that_describe_the_run(tmp_path):
    command = (*SHORT, f"--workdir={tmp_path / 'w'}")
    (first,) = run_all([command])
    assert "\x1b" not in first.stdout and "\r" not in first.stdout
    lines = first.stdout.splitlines()
    assert lines[:8] == [
        "teacher   resnet20, 272,474 parameters, test top-1 100.00 %",
        "student   resnet8, 78,042 parameters",
        "method    KD + DA",
        "data      digits: 1,437 training and 360 test examples of 32 × 32 × 3,"
        " 10 classes",
        "training  1 epoch of 3 steps, batch size 360, tensorfloat32",
        "seed      0",
        f"devices   1 × cpu ({len(os.sched_getaffinity(0))} cores)",
        f"folder    {tmp_path / 'w'} (new)",
    ]
    assert lines[8] == COMPILING
    assert re.fullmatch(rf"{FIRST_STEP} \d+\.\d s, with the first step", lines[9])
    assert re.search(r"\| DA on \d+ % of batches", lines[10])
    (again,) = run_all([command])
    assert f"folder    {tmp_path / 'w'} (resumed after epoch 1)" in again.stdout


def test_a_process_says_what_it_waits_for():
    assert waiting_line(Processes("host:1", 2, 0)) == (
        "waiting for process 1 of 2 at host:1"
    )
    assert waiting_line(Processes("host:1", 3, 1)) == (
        "waiting for processes 0, 2 of 3 at host:1"
    )
    assert "of the cluster" in waiting_line(Processes(None, None, None))
