"""A run's checkpoints: which one is restored when some are damaged."""

import os
import shutil

import numpy as np
import pytest

from da_jax.errors import UserError
from da_jax.storage.run_checkpoints import RunCheckpoint, RunCheckpoints


def run_checkpoint(step):
    """Creates a checkpoint of a small student after `step` steps, three per epoch."""
    kernel = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    weights = {"params": {"fc": {"kernel": kernel}}}
    student = {"step": np.int32(step), **weights, "batch_stats": {"mean": np.ones(8)}}
    history = [{"epoch": epoch, "test_top1": 1.5} for epoch in range(1, step // 3 + 1)]
    return RunCheckpoint("resnet8", 100, [student], [weights], 0, history)


def write_checkpoints(workdir, steps=(3, 6)):
    checkpoints = RunCheckpoints(workdir)
    for step in steps:
        checkpoints.save(run_checkpoint(step))
    checkpoints.close()
    return workdir / "checkpoints"


def test_the_latest_checkpoint_is_named_once_it_is_written(tmp_path):
    checkpoints = RunCheckpoints(tmp_path)
    assert checkpoints.latest() is None
    for step in (3, 12):
        checkpoints.save(run_checkpoint(step))
        assert checkpoints.latest() == tmp_path / "checkpoints" / str(step)
        assert (checkpoints.latest() / "students").is_dir()
    checkpoints.close()


def largest_file(folder):
    files = [file for file in folder.rglob("*") if file.is_file()]
    return max(files, key=lambda file: file.stat().st_size)


def truncate(folder):
    os.truncate(largest_file(folder), largest_file(folder).stat().st_size // 2)


def empty(folder):
    os.truncate(largest_file(folder), 0)


def flip_a_bit(folder):
    content = bytearray(largest_file(folder).read_bytes())
    content[len(content) // 2] ^= 1
    largest_file(folder).write_bytes(content)


def change_the_history(folder):
    (file,) = (folder / "meta").rglob("metadata")
    file.write_text(file.read_text().replace("1.5", "2.5"))


def lose_the_students(folder):
    shutil.rmtree(folder / "students")


def lose_everything(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES = (
    truncate,
    empty,
    flip_a_bit,
    change_the_history,
    lose_the_students,
    lose_everything,
)


def our_warnings(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("da_jax") and record.levelname == "WARNING"
    ]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path, caplog, damage):
    folder = write_checkpoints(tmp_path)
    damage(folder / "6")
    checkpoints = RunCheckpoints(tmp_path)
    restored = checkpoints.restore()
    assert restored.students[0]["step"] == 3
    (warning,) = our_warnings(caplog)
    assert str(folder / "6") in warning and f"going back to {folder / '3'}" in warning
    checkpoints.clean(restored)
    checkpoints.save(run_checkpoint(6))
    checkpoints.close()
    checkpoints = RunCheckpoints(tmp_path)
    assert checkpoints.restore().students[0]["step"] == 6
    checkpoints.close()
    assert (folder / "6.damaged").is_dir()
    assert our_warnings(caplog) == [warning]


def test_if_all_checkpoints_are_damaged_it_says_so(tmp_path):
    folder = write_checkpoints(tmp_path)
    flip_a_bit(folder / "3")
    empty(folder / "6")
    checkpoints = RunCheckpoints(tmp_path)
    with pytest.raises(UserError, match="no checkpoint of the run is whole"):
        checkpoints.restore()
    checkpoints.close()


def test_a_checkpoint_that_was_being_written_is_ignored(tmp_path):
    folder = write_checkpoints(tmp_path, steps=(3,))
    shutil.copytree(folder / "3", folder / "6.orbax-checkpoint-tmp-1")
    checkpoints = RunCheckpoints(tmp_path)
    restored = checkpoints.restore()
    assert restored.students[0]["step"] == 3
    checkpoints.clean(restored)
    checkpoints.close()
    assert [path.name for path in folder.iterdir()] == ["3"]
