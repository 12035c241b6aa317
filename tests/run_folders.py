"""Run folders made by hand: sound, half-way, diverged, damaged."""

import json

from da_jax.configs import resnet8x4

from da_jax.analysis.report.runs import read_runs
from da_jax.analysis.report.table import rows
from da_jax.training.metrics import is_due
from da_jax.training.results import create_results

DEVICE = {"platform": "gpu", "kind": "A device", "count": 2}
TEACHER = {"test_top1": 79.42, "test_top5": 94.5, "test_loss": 0.9}
OTHER_FIGURES = {"test_top5": 89.0, "test_loss": 1.1}
TOP1 = (20.0, 74.0, 73.5)
"""By epoch, of the hand-made runs' first seed; each later seed's is 0.7 higher."""


def make_run(folder, config=None, *, epochs=3, num_epochs=3, finished=True, **fields):
    """A run folder as training leaves it, of figures made up here.

    Where some of the training set is held out, the test figures are a point lower.
    Epochs that weren't evaluated have none.
    """
    config = config or resnet8x4.get_config("kd")
    config.update({"num_epochs": num_epochs, **fields})
    config = config.to_dict()
    seeds = [config["seed"] + index for index in range(config["num_seeds"])]
    split = "validation" if config["validation_size"] else "test"
    history = []
    for epoch in range(1, epochs + 1):
        own = [
            {
                "train_loss": 4.0 / epoch + seed,
                "train_loss_ce": 1.0 / epoch,
                "train_top1": 50.0 + epoch,
                "train_disagreement_before": 1e-4 / epoch,
                "train_disagreement_after": None if epoch == 2 else 3e-4 / epoch,
                f"{split}_loss": 2.0 / epoch,
                f"{split}_top1": TOP1[epoch % 3 - 1] + 0.7 * seed,
                f"{split}_top5": 90.0,
            }
            for seed in seeds
        ]
        if not is_due(epoch, config["eval_every"], num_epochs):
            own = [
                {name: value for name, value in of_seed.items() if split not in name}
                for of_seed in own
            ]
        record = {"epoch": epoch, "step": 781 * epoch, "seconds": 10.0 + epoch}
        record |= {"learning_rate": 0.05, **own[0]}
        if len(seeds) > 1:
            each = zip(seeds, own, strict=True)
            record["seeds"] = [{"seed": seed, **figures} for seed, figures in each]
        history.append(record)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    lines = [json.dumps(record) + "\n" for record in history]
    (folder / "metrics.jsonl").write_text("".join(lines))
    if finished:
        tested = None
        if split == "validation":
            tested = [
                {
                    which: {"test_top1": top1 + 0.7 * seed, **OTHER_FIGURES}
                    for which, top1 in (("best", 73.0), ("last", 72.5))
                }
                for seed in seeds
            ]
        results = create_results(config, history, DEVICE, tested, TEACHER)
        (folder / "results.json").write_text(json.dumps(results))
    return folder


def table_of(*folders):
    return rows(read_runs(folders))


def half_without_an_evaluation(folder):
    make_run(folder, epochs=2, eval_every=5, finished=False)
    return "epoch 2 of 3"


def figures_missing(folder):
    make_run(folder, eval_every=2, num_seeds=2)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eval_every": 1}))
    return "finished; damaged: metrics.jsonl, line 1: it has no test_top1"


def half(folder):
    make_run(folder, epochs=1, finished=False)
    return "epoch 1 of 3"


def not_begun(folder):
    make_run(folder, epochs=0, finished=False)
    return "epoch 0 of 3"


def without_metrics(folder):
    make_run(folder)
    (folder / "metrics.jsonl").unlink()
    return "finished"


def diverged(folder):
    make_run(folder, epochs=2, finished=False)
    file = folder / "metrics.jsonl"
    *before, last = file.read_text().splitlines()
    last = {**json.loads(last), "train_loss": None, "diverged": {"0": 900}}
    file.write_text("\n".join([*before, json.dumps(last)]))
    return "diverged in epoch 2 of 3; seed 0 diverged at step 900"


def one_seed_diverged(folder):
    make_run(folder, num_seeds=2)
    file = folder / "results.json"
    results = json.loads(file.read_text())
    results["seeds"][1]["diverged_at"] = 12
    file.write_text(json.dumps(results))
    return "finished; seed 1 diverged at step 12"


def cut_off(folder):
    make_run(folder, epochs=2, finished=False)
    file = folder / "metrics.jsonl"
    file.write_text(file.read_text()[:-60])
    return "epoch 1 of 3; damaged: metrics.jsonl, line 2: no JSON"


def many_damaged_lines(folder):
    make_run(folder, finished=False)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'\n\xff\xfe\n[]\n"x"\n7\n{"epoch": 4}\n' + b"[" * 100_000)
    return (
        "epoch 3 of 3; damaged: metrics.jsonl, line 5: no JSON;"
        " metrics.jsonl, line 6: it has no epoch; metrics.jsonl, line 7: it has no"
        " epoch; and 3 more of its lines"
    )


def other_number_of_seeds(folder):
    make_run(folder, epochs=1, finished=False)
    config = json.loads((folder / "config.json").read_text()) | {"num_seeds": 2}
    (folder / "config.json").write_text(json.dumps(config))
    return "epoch 0 of 3; damaged: metrics.jsonl, line 1: it isn't of 2 seeds"


def config_without_student(folder):
    make_run(folder)
    (folder / "config.json").write_text('{"seed": 0, "num_seeds": "many"}')
    return "damaged: config.json: its num_seeds is 'many'"


def config_cut_off(folder):
    make_run(folder)
    (folder / "config.json").write_text('{"seed": 0')
    return "damaged: config.json: no JSON"


def config_missing(folder):
    make_run(folder)
    (folder / "config.json").unlink()
    return "damaged: config.json is missing"


def results_without_seeds(folder):
    make_run(folder)
    (folder / "results.json").write_text('{"device": {"kind": "x", "count": 1}}')
    return "epoch 3 of 3; damaged: results.json: it has no versions"


def results_not_a_number(folder):
    make_run(folder)
    file = folder / "results.json"
    file.write_text(file.read_text().replace("74.0", "NaN"))
    return "epoch 3 of 3; damaged: results.json: its test_top1 is nan"


def metrics_are_a_folder(folder):
    make_run(folder, finished=False)
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").mkdir()
    return "epoch 0 of 3; damaged: metrics.jsonl: Is a directory"


def empty(folder):
    folder.mkdir()
    return "no run here"


def missing(folder):
    return "no run here: no such folder"


def a_file(folder):
    folder.write_text("{}")
    return "no run here: no such folder"


STATES = [
    *(
        half_without_an_evaluation,
        figures_missing,
        half,
        not_begun,
        without_metrics,
        diverged,
        one_seed_diverged,
        cut_off,
    ),
    *(many_damaged_lines, other_number_of_seeds, config_without_student),
    *(config_cut_off, config_missing, results_without_seeds, results_not_a_number),
    *(metrics_are_a_folder, empty, missing, a_file),
]
"""Makers of a folder that say what its state is."""
