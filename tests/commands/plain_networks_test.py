"""Any Flax module that returns logits, as student and as teacher, by the commands."""

import pytest

from da_jax.storage.files import read_json
from tests.commands.main_test import main


def trained(workdir, student, *fields):
    done = main(
        f"--config=tests/plain_networks.py:{student}", *fields, f"--workdir={workdir}"
    )
    assert done.returncode == 0, done.stderr
    return read_json(workdir / "results.json")


def test_plain_networks_are_students_and_teachers(tmp_path):
    mlp = trained(tmp_path / "mlp", "MLP")
    assert mlp["last"]["test_top1"] > 50
    best = tmp_path / "mlp" / "best"
    assert read_json(best / "model.json")["imports"] == ["tests.plain_networks"]
    vit = trained(
        *(tmp_path / "vit", "ViT", "--config.teacher.model=MLP"),
        *(f"--config.teacher.checkpoint={best}", "--config.precision=float32"),
    )
    assert vit["config"]["imports"] == ["tests.plain_networks"]
    assert vit["teacher"]["test_top1"] == pytest.approx(
        max(mlp["best"]["test_top1"], mlp["last"]["test_top1"]), abs=0.01
    )
    assert vit["last"]["test_top1"] > 14  # chance is 10
    done = main(
        *("--model", "ViT", "--dataset", "digits", "--checkpoint", tmp_path / "vit"),
        *("--json", tmp_path / "figures.json"),
        module="da_jax.evaluate",
    )
    assert done.returncode == 0, done.stderr
    figures = read_json(tmp_path / "figures.json")
    assert figures["top1"] == pytest.approx(vit["best"]["test_top1"], abs=0.01)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["--config.method=AT"], "method AT needs the features feats of the student"),
        (["--config.precision=bfloat16"], "--config.precision=float32"),
    ],
)
def test_what_plain_networks_do_not_have_is_named_in_one_line(
    tmp_path, fields, message
):
    workdir = tmp_path / "run"
    done = main("--config=tests/plain_networks.py:MLP", *fields, f"--workdir={workdir}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr
