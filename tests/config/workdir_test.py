"""A run's folder: one config, one process, and what is refused."""

import json

import pytest
from da_jax.configs import digits

from da_jax.config.defaults import sections_in_use
from da_jax.config.record import SCHEMA, to_record
from da_jax.config.workdir import claimed, write_once
from da_jax.errors import UserError


def config_file(workdir):
    return json.loads((workdir / "config.json").read_text())


def test_a_folder_is_claimed_by_one_process_at_a_time(tmp_path):
    config, workdir = digits.get_config(), tmp_path / "of" / "a_run"
    with claimed(workdir, config):
        recorded = json.loads(
            json.dumps(to_record(config.to_dict(), sections_in_use(config)))
        )
        assert config_file(workdir) == json.loads(json.dumps(recorded))
        with pytest.raises(UserError, match="another process is at the run"):
            with claimed(workdir, config):
                pass
    with claimed(workdir, config):
        pass


def test_a_folder_belongs_to_one_config(tmp_path):
    config = digits.get_config()
    with claimed(tmp_path, config):
        pass
    before = config_file(tmp_path)
    config.seed, config.disagreement.steps = 1, 2
    fields = r"disagreement.steps \(1 there, 2 now\); seed \(0 there, 1 now\)"
    with pytest.raises(UserError, match=f"a run of another config: {fields}"):
        with claimed(tmp_path, config):
            pass
    assert config_file(tmp_path) == before


def test_fields_that_change_no_result_are_written_anew(tmp_path):
    config = digits.get_config()
    with claimed(tmp_path, config):
        pass
    config.eval_batch_size = 10
    with claimed(tmp_path, config):
        assert config_file(tmp_path)["eval_batch_size"] == 10


def test_a_file_of_version_0_is_written_anew_by_the_same_config(tmp_path):
    config = digits.get_config()
    earlier = config.to_dict()
    del earlier["eval_every"]
    (tmp_path / "config.json").write_text(json.dumps(earlier))
    with claimed(tmp_path, config):
        written = config_file(tmp_path)
    assert written["schema"] == SCHEMA and written["eval_every"] == 1
    assert "CRD" not in written


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        with claimed(tmp_path / "file" / "run", digits.get_config()):
            pass


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "lock").touch()
    with pytest.raises(UserError, match=r"has other files, such as thesis\.tex; cho"):
        with claimed(tmp_path, digits.get_config()):
            pass
    assert {file.name for file in tmp_path.iterdir()} == {"thesis.tex", "lock"}
    with pytest.raises(UserError, match="can't be written: Not a directory"):
        with claimed(tmp_path / "thesis.tex", digits.get_config()):
            pass


def test_a_folder_of_an_earlier_start_is_not_refused(tmp_path):
    """A process may have been killed before it wrote the config."""
    for name in ("lock", ".config.json.tmp", ".gitkeep"):
        (tmp_path / name).touch()
    with claimed(tmp_path, digits.get_config()):
        assert config_file(tmp_path)


def test_other_files_of_a_folder_are_written_once(tmp_path):
    file = tmp_path / "space.json"
    write_once(file, {"a": {"low": 1}})
    write_once(file, {"a": {"low": 1}})
    with pytest.raises(UserError, match=r"a.low \(1 there, 2 now\)"):
        write_once(file, {"a": {"low": 2}})
    assert json.loads(file.read_text()) == {"a": {"low": 1}}
