"""The report's rows and command: real runs, and folders in every state."""

import html
import json
import os
import re
import shutil
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from da_jax.configs import ShuffleV2, resnet8x4, teacher, vgg8
from hypothesis import given, settings

from da_jax.analysis.report.curves import charts, points
from da_jax.analysis.report.inputs import read_inputs
from da_jax.analysis.report.page import create_page
from da_jax.analysis.report.published import ORIGINAL, published
from da_jax.analysis.report.runs import read_run, read_runs
from da_jax.analysis.report.table import cells, markdown, rows
from tests.analysis.report_page_test import Page
from tests.commands.main_test import REPOSITORY, main
from tests.run_folders import STATES, TOP1, make_run, table_of


def test_real_runs_of_several_seeds_are_one_row(short_runs):
    (row,) = table_of(short_runs / "one", short_runs / "two")
    results = [
        json.loads((short_runs / name / "results.json").read_text())
        for name in ("one", "two")
    ]
    for when, found in (("best", row.best), ("last", row.last)):
        top1 = [seed[when]["test_top1"] for one in results for seed in one["seeds"]]
        assert len(top1) == row.n == 3
        assert found["test_top1"] == pytest.approx(np.mean(top1))
        assert found["test_top1_std"] == pytest.approx(np.std(top1, ddof=1))
    assert (row.pair, row.method) == ("resnet20 → resnet8 (digits)", "KD + DA")
    seconds = [
        json.loads((short_runs / name / "metrics.jsonl").read_text())["seconds"]
        for name in ("one", "two")
    ]
    assert row.hours == pytest.approx(sum(seconds) / 3600)
    run = read_run(short_runs / "two")
    assert run.images_per_second == pytest.approx(2 * 3 * 360 / seconds[1])
    assert row.teacher == f"{results[0]['teacher']['test_top1']:.2f}"
    cores = len(os.sched_getaffinity(0))
    assert row.device == f"cpu, {cores} core{'s' if cores > 1 else ''}"
    assert (
        run.versions["jax"] and "--config=configs/digits.py" in run.results["command"]
    )


def test_the_table_in_markdown(tmp_path):
    """A run of three seeds, one of a fourth, one with DA; expected cells by hand."""
    folders = [
        make_run(tmp_path / "three", num_seeds=3),
        make_run(tmp_path / "fourth", seed=3),
        make_run(tmp_path / "da", resnet8x4.get_config()),
    ]
    top1 = np.array([74.0, 74.7, 75.4, 76.1])
    mean, std = top1.mean(), top1.std(ddof=1)
    assert markdown(table_of(*folders)).splitlines() == [
        "| pair | teacher | method | n | best | last | published | epochs | device |"
        " hours |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| resnet32x4 → resnet8x4 | 79.42 | KD | 4 | {mean:.2f} ± {std:.2f} |"
        f" {mean - 0.5:.2f} ± {std:.2f} | 73.66 ± 0.26 (original); 73.33 (mdistiller) |"
        " 3 | 2 × A device | 0.02 |",
        "| resnet32x4 → resnet8x4 | 79.42 | KD + DA | 1 | 74.00 | 73.50 |"
        " 74.59 ± 0.24 (original) | 3 | 2 × A device | 0.01 |",
    ]


def test_where_some_was_held_out_the_test_set_chose_nothing(tmp_path):
    """An unfinished run has no test accuracy; its curves show the validation."""
    done = make_run(tmp_path / "done", validation_size=500, num_seeds=2)
    half = make_run(tmp_path / "half", validation_size=500, epochs=2, finished=False)
    table = table_of(done, half)
    assert [row.state for row in table] == ["finished", "epoch 2 of 3"]
    best, last = (cells(table[0])[name] for name in ("best", "last"))
    assert best == "73.35 ± 0.49 (by validation)"
    assert last == "72.85 ± 0.49"
    assert cells(table[1])["best"] == cells(table[1])["last"] == "–"
    (drawn,) = charts(table).values()
    names = [chart.key.partition("-")[2] for chart in drawn]
    assert {"validation_top1", "validation_loss"} <= set(names)
    assert not any(name.startswith("test_") for name in names)
    assert [len(line.points) for line in drawn[0].lines] == [3, 2]


def test_a_seed_counts_once(tmp_path):
    one = make_run(tmp_path / "one", num_seeds=2)
    again = make_run(tmp_path / "again", seed=1)
    table = table_of(one, again, one, tmp_path / "again" / ".." / "one")
    assert [row.n for row in table] == [2, 1]
    assert table[1].state == f"finished; the same seed as {one}"


def test_figures_are_of_the_epochs_that_were_evaluated(tmp_path):
    run = make_run(tmp_path / "run", epochs=4, num_epochs=4, eval_every=3)
    (row,) = table_of(run)
    evaluated = {epoch: TOP1[epoch % 3 - 1] for epoch in (3, 4)}
    assert row.best["test_top1"] == max(evaluated.values())
    assert row.last["test_top1"] == evaluated[4]
    shown = {point.x: point.mean for point in points(row, "test_top1")}
    assert shown == evaluated


def test_rows_of_one_method_say_in_what_they_differ(tmp_path):
    config = resnet8x4.get_config()
    config.optimizer.learning_rate = 0.1
    table = table_of(
        make_run(tmp_path / "one", resnet8x4.get_config()),
        make_run(tmp_path / "two", config),
        make_run(tmp_path / "three", checkpoint_every=5),
        make_run(tmp_path / "other", vgg8.get_config("kd"), batch_size=32),
    )
    assert [row.method for row in table] == [
        "KD + DA, optimizer.learning_rate=0.05",
        "KD + DA, optimizer.learning_rate=0.1",
        "KD, optimizer.learning_rate=0.05",
        "KD",  # the only row of its pair
    ]


def test_sections_that_are_not_in_use_name_no_row(tmp_path):
    """Old files have the sections of every method, new ones only those in use."""
    config = resnet8x4.get_config("kd")
    config.DKD.beta = 7.0
    old, other = make_run(tmp_path / "old", config), make_run(tmp_path / "other")
    new = make_run(tmp_path / "new", seed=1)
    for folder in (new, make_run(tmp_path / "da", resnet8x4.get_config())):
        file = folder / "config.json"
        content = json.loads(file.read_text())
        used = {"teacher", "optimizer", "KD"}
        used |= {"disagreement"} if content["augmentation"] != "none" else set()
        content = {
            name: value
            for name, value in content.items()
            if name in used or not isinstance(value, dict)
        }
        file.write_text(json.dumps({"schema": 1, **content}))
    table = table_of(old, new, tmp_path / "da")
    assert [(row.method, row.n) for row in table] == [("KD", 2), ("KD + DA", 1)]
    assert table_of(other)[0].method == "KD"


def test_many_settings_that_differ_are_counted(tmp_path):
    fields = {"batch_size": 32, "drop_remainder": False, "train_size": 500}
    one = make_run(tmp_path / "one", num_epochs=3)
    two = make_run(tmp_path / "two", **fields, use_labels=False)
    assert [row.method for row in table_of(one, two)] == [
        "KD, batch_size=64, drop_remainder=True, train_size=0, and 1 more",
        "KD, batch_size=32, drop_remainder=False, train_size=500, and 1 more",
    ]


@pytest.mark.parametrize("make", STATES, ids=lambda make: make.__name__)
def test_whatever_is_in_a_folder_it_is_a_row_with_its_state(tmp_path, make):
    folder = tmp_path / "run"
    state = make(folder)
    whole = make_run(tmp_path / "whole", resnet8x4.get_config())
    runs = read_runs([folder, whole])
    table = rows(runs)
    assert [row.state for row in table] == [state, "finished"]
    assert state in markdown(table) or state == "finished"
    page = create_page(runs, table)
    assert state in html.unescape(page)
    Page(page).check()


FILES = ("config.json", "metrics.jsonl", "results.json")
ODD = st.one_of(
    *(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    st.sampled_from([10**400, -(10**17), 5e-324, 1e308, "\ud800", [], {}, [[]]]),
)
"""Values that a run doesn't write."""


def places(content):
    """Yields every container and key of nested JSON content."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in items:
        yield content, name
        if isinstance(value, dict | list):
            yield from places(value)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_file_makes_the_report_fail(tmp_path_factory, data):
    """Replaces any value by an odd one, or any bytes by others."""
    folder = tmp_path_factory.mktemp("odd") / "run"
    finished, num_seeds = data.draw(st.booleans()), data.draw(st.sampled_from([1, 2]))
    make_run(folder, resnet8x4.get_config(), finished=finished, num_seeds=num_seeds)
    file = folder / data.draw(st.sampled_from(FILES[: 2 + finished]))
    lines = file.read_text().splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    if data.draw(st.booleans()):
        content = json.loads(lines[number])
        for _ in range(data.draw(st.integers(1, 3))):
            held_by, name = data.draw(st.sampled_from(list(places(content))))
            held_by[name] = data.draw(ODD)
        lines[number] = json.dumps(content)
        file.write_text("\n".join(lines))
    else:
        content = file.read_bytes()
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.integers(0, 20))
        file.write_bytes(content[:start] + data.draw(st.binary()) + content[end:])
    runs = read_runs([folder])
    table = rows(runs)
    assert len(table) == 1 and table[0].state and markdown(table)
    Page(create_page(runs, table)).check()


def test_published_figures():
    """The original's values equal those of the README's table."""
    readme = (REPOSITORY / "README.md").read_text()
    table = re.findall(
        r"\| (\w+) → (\w+) \| ([\d.]+) ± ([\d.]+) \| ([\d.]+) ± ([\d.]+) \|", readme
    )
    assert len(table) == 3
    for teacher_name, student, *figures in table:
        kd, kd_std, da, da_std = map(float, figures)
        expected = {"KD": (kd, kd_std), "KD + DA": (da, da_std)}
        assert ORIGINAL[teacher_name, student] == expected
    told = {
        variant: [
            str(one) for one in published(ShuffleV2.get_config(variant).to_dict())
        ]
        for variant in ("kd", "kd,lr0.01", "lr0.01", "DKD,none")
    }
    assert told == {
        "kd": ["71.67 ± 0.34 (original)"],
        "kd,lr0.01": ["74.45 (mdistiller)"],
        "lr0.01": [],
        "DKD,none": [],  # at 0.05, where mdistiller's is at 0.01
    }
    assert [
        str(one) for one in published(teacher.get_config("resnet56").to_dict())
    ] == ["72.34 (mdistiller)"]


def test_the_command_without_jax(tmp_path, short_runs):
    output = tmp_path / "new" / "report"
    code = (
        "import runpy, sys; sys.modules.update(dict.fromkeys(('jax', 'tensorflow')));"
        f"sys.argv = ['report', {str(short_runs / 'one')!r}, 'nowhere',"
        f" '--output', {str(output)!r}];"
        "runpy.run_module('da_jax.report', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "warning: nowhere: no run here: no such folder\n"
    assert "runs 2, rows 2" in done.stdout
    names = {file.name for file in output.iterdir()}
    assert names == {"report.html", "report.md", "curves"}
    table = markdown(table_of(short_runs / "one"))
    assert table.splitlines()[2] in (output / "report.md").read_text()
    Page((output / "report.html").read_text()).check()


def test_of_all_that_lies_beside_runs_pictures_are_shown_and_files_passed_over(
    tmp_path,
):
    make_run(tmp_path / "kd")
    figures = tmp_path / "two_networks" / "robustness"
    figures.mkdir(parents=True)
    (figures / "robustness.json").write_text('{"clean": {"resnet20": 68.83}}')
    (tmp_path / "README.md").write_text("What these are.")
    output = tmp_path / "report"
    done = main(*sorted(tmp_path.iterdir()), "--output", output, module="da_jax.report")
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        f"warning: {tmp_path / 'README.md'} is a file, not the folder of a run\n"
    )
    assert (output / "report.md").read_text() == markdown(table_of(tmp_path / "kd"))
    page = (output / "report.html").read_text()
    Page(page).check()
    assert "Robustness: two_networks</h2>" in page and "68.83</td>" in page
    done = main(figures.parent, "--output", output, module="da_jax.report")
    assert done.returncode == 0, done.stderr
    page = (output / "report.html").read_text()
    Page(page).check()
    assert "<h1>Report</h1>" in page and "<h2>Results" not in page


def test_a_folder_of_runs_stands_for_its_runs(tmp_path):
    """A folder without any, such as one of weights, is passed over."""
    for name in ("b", "a"):
        make_run(tmp_path / "runs" / name)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "weights" / "one").mkdir(parents=True)
    inputs = read_inputs([tmp_path / "runs", tmp_path / "weights"])
    assert [run.folder.name for run in inputs.runs] == ["a", "b"]
    assert inputs.warnings == [f"{tmp_path / 'weights'}: no run here"]


def test_a_report_of_nothing_is_an_error_of_one_line(tmp_path):
    damaged = make_run(tmp_path / "damaged")
    (damaged / "config.json").write_text("{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.md").write_text("What these are.")
    folders = [tmp_path / name for name in ("README.md", "empty", "lost", "damaged")]
    output = tmp_path / "report"
    done = main(*folders, "--output", output, module="da_jax.report")
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: there is no run to report: ")
    for reason in ("is a file", "no run here", "no such folder", "and 1 more"):
        assert reason in line
    assert not output.exists()


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "report.md").mkdir()
    run = make_run(tmp_path / "run")
    done = main(run, "--output", tmp_path, module="da_jax.report")
    assert done.returncode == 2 and "can't be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_templates_are_in_the_wheel(tmp_path):
    """Builds a wheel from a copy of the packages."""
    pytest.importorskip("setuptools", minversion="77")
    for name in ("benchmarks", "checkpoints", "configs", "convert", "da_jax"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    packed = tmp_path / "unpacked" / "da_jax" / "analysis" / "report"
    here = REPOSITORY / "da_jax" / "analysis" / "report"
    for suffix in ("*.py", "templates/*"):
        assert {file.name for file in packed.glob(suffix)} == {
            file.name for file in here.glob(suffix)
        }
