"""The pictures: their data, their texts, and the command that draws them."""

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
import scipy.stats
from matplotlib.text import Text
from PIL import Image

from da_jax.analysis import gallery
from da_jax.analysis.pictures import canvas, correlation, parts, per_class, tsne
from da_jax.analysis.pictures import gallery as drawing
from da_jax.analysis.predictions import predict
from da_jax.analysis.pretrained import load_pretrained
from da_jax.commands import visualize_arguments
from da_jax.data import cifar100, digits
from da_jax.models import create_model
from da_jax.storage.model_folders import Model, save_model
from tests.command_runs import run_all

TEACHER = Path("checkpoints/digits_resnet20")
IMAGES = [5, 8, 13, 21, 34]
STEPS = (0, 1, 3)
NAMES = cifar100.CLASS_NAMES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pictures of an untrained student and a teacher."""
    folder = tmp_path_factory.mktemp("visualize")
    network = create_model("resnet8", 10)
    variables = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    save_model(folder / "student", Model("resnet8", 10, jax.device_get(variables)), {})
    command = (
        *("da_jax.visualize", "--student", folder / "student"),
        *("--teacher", TEACHER, "--dataset", "digits", "--output", folder / "pictures"),
        *("--images", ",".join(map(str, IMAGES))),
        *("--steps", ",".join(map(str, STEPS)), "--images_per_class", 12),
    )
    (done,) = run_all([command])
    assert done.returncode == 0, done.stderr
    assert "visualize.json" in done.stdout
    return folder


@pytest.fixture(scope="module")
def numbers(folder):
    return json.loads((folder / "pictures" / "visualize.json").read_text())


def test_every_picture_is_there_and_described(folder, numbers):
    described = {picture["file"]: picture for picture in numbers["pictures"]}
    found = {path.name for path in (folder / "pictures").iterdir()}
    assert found == {*described, "visualize.json"}
    assert [picture["part"] for picture in numbers["pictures"]] == [
        *("gallery", "gallery"),
        *("tsne", "correlation", "per_class"),
    ]
    for name, picture in described.items():
        assert len(picture["alt"]) > 50 and picture["title"]
        with Image.open(folder / "pictures" / name) as image:
            assert image.format == "PNG" and min(image.size) > 400


def test_the_pages_hold_the_images_themselves(folder):
    """At 150 dpi the first cell of each row is the image, with 5 × 5 dots a pixel."""
    original = digits.load().test.images[IMAGES]
    for page, rows in ((1, range(4)), (2, range(4, 5))):
        with Image.open(folder / "pictures" / f"gallery_{page}.png") as image:
            dots = np.asarray(image.convert("RGB")).astype(int)
        row_inches, header, footer = drawing._ROW, drawing._HEADER, drawing._FOOTER
        height = header + footer + len(rows) * row_inches
        assert dots.shape[0] == pytest.approx(150 * height, abs=1)
        for place, row in enumerate(rows):
            top = round(150 * (header + place * row_inches)) + 2
            left = round(150 * drawing._MARGIN) + 2
            shown = dots[top : top + 160 : 5, left : left + 160 : 5]
            assert np.abs(shown - original[row]).max() <= 1


def test_the_numbers_are_the_gallery_s(folder, numbers):
    (found,) = numbers["gallery"]
    dataset = digits.load()
    student = load_pretrained(folder / "student")
    teacher = load_pretrained(TEACHER)
    expected = gallery.create_gallery(
        *(student, teacher, dataset.test, dataset.preprocessing, IMAGES),
        steps=STEPS,
        learning_rate=0.01778,
    )
    assert [image["index"] for image in found["images"]] == IMAGES
    for row, image in enumerate(found["images"]):
        assert image["label"] == str(dataset.test.labels[IMAGES[row]])
        assert [moment["step"] for moment in image["moments"]] == list(STEPS)
        for at, moment in enumerate(image["moments"]):
            assert moment["disagreement"] == pytest.approx(
                expected.disagreement[at, row], rel=0.02
            )
            likeliest = moment["teacher"][0]
            logits = expected.teacher_logits[at, row]
            assert likeliest["class"] == str(logits.argmax())
            assert likeliest["probability"] == pytest.approx(
                float(jax.nn.softmax(logits).max()), abs=1e-3
            )
    teacher_top1 = json.loads((TEACHER / "model.json").read_text())["test_top1"]
    assert numbers["teacher"]["test_top1"] == pytest.approx(teacher_top1, abs=1e-4)
    of_classes = {each["class"]: each for each in numbers["per_class"]["classes"]}
    is_right = predict(student, dataset).is_right(dataset.test.labels)
    for label in range(10):
        accuracy = 100 * is_right[dataset.test.labels == label].mean()
        assert of_classes[str(label)]["after"] == pytest.approx(accuracy)


def random_logits(seed, num_classes=10, per_class=6):
    labels = np.repeat(np.arange(num_classes), per_class)
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(labels), num_classes)), labels


def test_class_correlations_are_pearson_s():
    logits, labels = random_logits(0)
    other, _ = random_logits(1)
    means, other_means = (
        correlation.class_means(each, labels) for each in (logits, other)
    )
    np.testing.assert_allclose(means[3], logits[18:24].mean(axis=0))
    found = correlation.difference(means, other_means)
    expected = (
        scipy.stats.pearsonr(means[2], means[7]).statistic
        - scipy.stats.pearsonr(other_means[2], other_means[7]).statistic
    )
    assert found.correlations[2, 7] == pytest.approx(expected)
    assert found.means[4, 5] == pytest.approx(means[4, 5] - other_means[4, 5])
    assert not found.means.diagonal().any()
    first, *_ = correlation.largest_pairs(found.correlations, 3)
    largest = correlation.extent(found.correlations).max
    assert abs(first.difference) == pytest.approx(largest)


def test_a_network_does_not_differ_from_itself():
    means = correlation.class_means(*random_logits(0))
    same = correlation.difference(means, means.copy())
    assert correlation.extent(same.correlations) == (0, 0)
    assert correlation.extent(same.means) == (0, 0)
    correlation.draw([("one", same)], "one", np.arange(10), NAMES[:10])


def test_the_order_puts_like_classes_together():
    pattern = np.random.default_rng(0).normal(size=(2, 6))
    means = pattern[[0, 1, 0, 1, 0, 1]] + 0.01 * np.random.default_rng(1).normal(
        size=(6, 6)
    )
    order = correlation.clustered_order(means)
    assert sorted(order) == list(range(6))
    assert {*order[:3]} in ({0, 2, 4}, {1, 3, 5})


def test_changes_by_class_and_their_standard_errors():
    """With b of n images right only before, c only after: √(b + c − (c − b)²/n) / n."""
    before = np.array([1, 1, 1, 0, 0, 0, 1, 1], bool)
    after = np.array([1, 0, 0, 1, 0, 1, 1, 1], bool)
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    found = per_class.change(before, after, labels, 2)
    np.testing.assert_allclose(found.before, [50, 100])
    np.testing.assert_allclose(found.after, [50, 100])
    np.testing.assert_allclose(found.standard_errors, [100 * math.sqrt(4) / 6, 0])
    better = per_class.change(~after, after, labels, 2)
    np.testing.assert_allclose(better.values, [0, 100])
    assert better.order.tolist() == [1, 0] and better.is_clear.tolist() == [False, True]


def test_tsne_is_its_seed_s():
    rng = np.random.default_rng(0)
    labels = np.repeat([4, 7, 9], 20)
    features = rng.normal(size=(60, 8)) + labels[:, None]
    chosen = tsne.sample_examples(labels, [4, 9], 5, seed=1)
    assert np.bincount(labels[chosen], minlength=10)[[4, 9]].tolist() == [5, 5]
    assert chosen.tolist() == tsne.sample_examples(labels, [4, 9], 5, 1).tolist()
    assert chosen.tolist() != tsne.sample_examples(labels, [4, 9], 5, 2).tolist()
    assert len(tsne.sample_examples(labels, [7], 1000, 0)) == 20
    found = tsne.embed(features, labels, seed=0)
    again = tsne.embed(features, labels, seed=0)
    np.testing.assert_array_equal(found.points, again.points)
    assert found.points.shape == (60, 2) and 0 < found.silhouette < 1


def figures():
    """Yields every kind of picture, for 100 class names and for 10."""
    rng = np.random.default_rng(0)
    for count, title in ((100, "ShuffleV2 (resnet32x4_ShuffleV2_da)"), (10, "resnet8")):
        names = sorted(NAMES, key=len)[-count:]
        means = rng.normal(size=(2, count, count))
        difference = correlation.difference(*means)
        pair = [(title, difference), (title, difference)]
        yield correlation.draw(pair, title, np.arange(count), names)
        changes = per_class.Change(*(100 * rng.uniform(size=(3, count))))
        yield per_class.draw(changes, title, title, names)
        labels = np.arange(count).repeat(2)
        points = tsne.Embedding(rng.normal(size=(2 * count, 2)), 0.5)
        yield tsne.draw([(title, points)] * 3, labels, names)
        for steps in ((0,), (0, 1, 5, 10, 50)):
            shown = gallery.Gallery(
                indices=np.array([9999, 1]),
                labels=np.array([0, 1]),
                steps=steps,
                learning_rate=0.01778,
                images=rng.normal(size=(len(steps), 2, 32, 32, 3)),
                student_logits=rng.normal(size=(len(steps), 2, count)),
                teacher_logits=10 * rng.normal(size=(len(steps), 2, count)),
                disagreement=rng.uniform(size=(len(steps), 2)) * 1e-4,
            )
            yield from drawing.draw(shown, cifar100.PREPROCESSING, names, title, title)


def is_drawn(text, figure):
    """Returns whether a text is drawn: labels of ticks outside an axis aren't."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if text in (tick.label1, tick.label2):
                    return low <= tick.get_loc() <= high
    return True


def test_no_words_overlap_or_are_cut_off():
    settings = {name: mpl.rcParams[name] for name in canvas._STYLE}
    for figure in figures():
        renderer = figure.canvas.get_renderer()
        canvas.pixels(figure)
        boxes = [
            (text.get_text(), text.get_window_extent(renderer))
            for text in figure.findobj(Text)
            if text.get_text().strip() and text.get_visible() and is_drawn(text, figure)
        ]
        for text, box in boxes:
            assert box.x0 >= 0 and box.x1 <= figure.bbox.width + 1, text
            assert box.y0 >= 0 and box.y1 <= figure.bbox.height + 1, text
        for (one, box), (other, other_box) in itertools.combinations(boxes, 2):
            width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert width < 2 or height < 2, (one, other)
    assert settings == {name: mpl.rcParams[name] for name in settings}


def test_the_command_knows_every_part():
    assert tuple(parts.PARTS) == visualize_arguments.PARTS


def test_without_matplotlib_it_says_so(tmp_path):
    command = (
        "import sys; sys.modules['matplotlib'] = None; sys.argv = ['', "
        f"'--student={TEACHER}', '--teacher={TEACHER}', '--dataset=digits',"
        f"'--output={tmp_path / 'pictures'}'];"
        "import da_jax.visualize as v; v.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "pip install 'da-jax[plots]'" in done.stderr
    assert not list(tmp_path.iterdir())
