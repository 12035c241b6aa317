"""The tables that the report makes of JSON files."""

from da_jax.analysis.report.json_tables import settings_and_tables
from da_jax.analysis.report.robustness import describe, label_values


def test_any_json_becomes_tables():
    deep = {"a": {"b": {"c": {"d": [1, 2]}}}, "n": {"x": {"y": 1.0}, "z": None}}
    settings, tables = settings_and_tables({"dataset": "digits", "ok": True, **deep})
    assert settings == [("dataset", "digits"), ("ok", "yes")]
    assert {table.title: table.rows for table in tables} == {
        "a, b, c": [["d", "1", "2"]],
        "n": [["z", "–"]],
        "n, x": [["y", "1.00"]],
    }
    _, (table,) = settings_and_tables({"curves": {"one": [1, 2, 3], "two": [4, 5]}})
    assert table.columns == ["", "#1", "#2", "#3"]
    assert table.rows == [["one", "1", "2", "3"], ["two", "4", "5", ""]]
    endless = {}
    endless["more"] = {"x": 1, "nested": {"deeper": {}}}
    assert settings_and_tables(endless)[1][0].rows == [["x", "1"]]
    assert settings_and_tables({"wide": [[0] * 1000] * 1000})[1][0].is_cut


def test_a_column_has_one_number_format():
    content = {"mixed": [[0.5, 1e-5, 3], [70, 2e-3, 4], [0.125, None, 5]]}
    _, (table,) = settings_and_tables(content)
    assert [list(column) for column in zip(*table.rows, strict=True)][1:] == [
        ["0.50", "70.00", "0.12"],
        ["1.00e-05", "2.00e-03", "–"],
        ["3", "4", "5"],
    ]


def test_the_robustness_has_headings_in_words_and_columns_of_one_kind():
    content = {
        "dataset": "digits",
        "students": [{"name": "kd", "model": "resnet8", "folder": "runs/kd"}],
        "teacher": {"name": "teacher", "model": "resnet20", "folder": "runs/t"},
        "settings": {"steps": 1, "budgets": [1, 2], "severities": {"blur": [0.5, 1]}},
        "disagreement": {
            "kd": {"student": [70, 60.5], "disagreement": [9e-5, 0.002]},
        },
        "more": {"of": {"its": "own"}},
    }
    settings, tables = describe(content)
    assert settings == [
        ("Data set", "digits"),
        ("Steps of ascent", "1"),
        ("L∞ budgets (255ths)", "1, 2"),
    ]
    found = {table.title: table.rows for table in tables}
    assert found["Networks"] == [
        ["kd", "resnet8", "runs/kd"],
        ["teacher", "resnet20", "runs/t"],
    ]
    assert found["Steps of ascent, accuracy (%) and disagreement: kd"] == [
        ["step 0", "70.00", "9.00e-05"],
        ["step 1", "60.50", "2.00e-03"],
    ]
    assert found["more"] == [["of", "own"]]


def test_robust_accuracies_stand_under_what_was_done_to_the_images():
    content = {
        "settings": {"budgets": [0.5, 8]},
        "disagreement": {"kd": {"student": [70, 60], "teacher": [72, 71]}},
        "attacks": {"kd": {"PGD": [3.5, 0], "FGSM": [9]}, "da": "damaged"},
        "corruptions": {"kd": {"Gaussian blur": [50, 40, 30]}},
    }
    found = label_values(content)
    assert found["disagreement"]["kd"]["teacher"] == {"step 0": 72, "step 1": 71}
    assert found["attacks"] == {
        "kd": {"PGD": {"0.5/255": 3.5, "8/255": 0}, "FGSM": {"#1": 9}},
        "da": "damaged",
    }
    severities = ["severity 1", "severity 2", "severity 3"]
    assert list(found["corruptions"]["kd"]["Gaussian blur"]) == severities
    assert content["attacks"]["kd"]["PGD"] == [3.5, 0]
    assert label_values({"attacks": 7, "settings": [1]}) == {
        "attacks": 7,
        "settings": [1],
    }
