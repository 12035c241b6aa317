"""PARTS: functions that draw pictures and return the data shown in them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from da_jax.analysis.gallery import create_gallery
from da_jax.analysis.pictures import correlation, gallery, per_class, tsne
from da_jax.analysis.pictures.canvas import Picture
from da_jax.analysis.pictures.visualization_data import VisualizationData
from da_jax.errors import UserError


class DrawnPart(NamedTuple):
    """The output of a part.

    Attributes:
      pictures: one or more.
      content: what they show, for `visualize.json`.
    """

    pictures: list[Picture]
    content: Any


def draw_gallery(data: VisualizationData) -> DrawnPart:
    """Draws the gallery of each student; pages are numbered consecutively."""
    dataset, options = data.dataset, data.options
    pictures: list[Picture] = []
    content = []
    for student in data.students:
        shown = create_gallery(
            student.pretrained,
            data.teacher.pretrained,
            dataset.test,
            dataset.preprocessing,
            options.images,
            steps=options.steps,
            learning_rate=options.learning_rate,
        )
        names = student.name, data.teacher.name
        pages = gallery.draw(shown, dataset.preprocessing, dataset.class_names, *names)
        for page, figure in enumerate(pages):
            rows = range(len(shown.indices))[page * gallery.ROWS :][: gallery.ROWS]
            pictures.append(
                Picture(
                    name=f"gallery_{len(pictures) + 1}.png",
                    title=f"Test images that {names[0]} and {names[1]} disagree on",
                    alt=gallery.alt_text(shown, rows, names, dataset.class_names),
                    figure=figure,
                )
            )
        content.append(gallery.as_json(shown, names, dataset.class_names))
    return DrawnPart(pictures, content)


def draw_tsne(data: VisualizationData) -> DrawnPart:
    """Draws the features of the students and the teacher side by side."""
    dataset, options = data.dataset, data.options
    labels = np.asarray(dataset.test.labels)
    chosen = tsne.sample_examples(
        labels, options.classes, options.images_per_class, options.seed
    )
    embeddings = []
    for network in data.networks:
        features = data.predictions(network).features
        if features is None:
            raise UserError(
                f"{network.name} returns no features for the part tsne; leave it out"
                " with --only"
            )
        embedding = tsne.embed(features[chosen], labels[chosen], options.seed)
        embeddings.append((network.name, embedding))
    class_names = [dataset.class_names[label] for label in options.classes]
    picture = Picture(
        name="tsne.png",
        title="Features of some classes, by t-SNE",
        alt=tsne.alt_text(embeddings, class_names),
        figure=tsne.draw(embeddings, labels[chosen], dataset.class_names),
    )
    content = {
        "classes": class_names,
        "images": chosen.tolist(),
        "seed": options.seed,
        "networks": [
            {"network": name, "silhouette": embedding.silhouette}
            for name, embedding in embeddings
        ],
    }
    return DrawnPart([picture], content)


def draw_correlation(data: VisualizationData) -> DrawnPart:
    """Draws the differences of class correlations and mean logits to the teacher's."""
    labels = np.asarray(data.dataset.test.labels)
    class_names = data.dataset.class_names
    *student_means, teacher_means = [
        correlation.class_means(data.predictions(network).logits, labels)
        for network in data.networks
    ]
    names = [student.name for student in data.students]
    teacher = data.teacher.name
    differences = [
        correlation.difference(each, teacher_means) for each in student_means
    ]
    named = list(zip(names, differences, strict=True))
    order = correlation.clustered_order(teacher_means)
    sentences = [
        correlation.alt_text(each, name, teacher, class_names) for name, each in named
    ]
    picture = Picture(
        name="correlation.png",
        title=f"Differences to {teacher} in class correlations and mean logits",
        alt="Heat maps of all pairs of classes. " + " ".join(sentences),
        figure=correlation.draw(named, teacher, order, class_names),
    )
    content = [
        correlation.as_json(each, name, teacher, class_names) for name, each in named
    ]
    return DrawnPart([picture], content)


def draw_per_class(data: VisualizationData) -> DrawnPart:
    """Compares the student with the teacher, or the second student with the first."""
    before, after = [data.teacher, *data.students][-2:]
    labels = np.asarray(data.dataset.test.labels)
    class_names = data.dataset.class_names
    was_right, is_right = (
        data.predictions(each).is_right(labels) for each in (before, after)
    )
    changes = per_class.change(was_right, is_right, labels, data.dataset.num_classes)
    shown = changes, before.name, after.name, class_names
    picture = Picture(
        name="per_class.png",
        title=f"Accuracy by class, {after.name} compared with {before.name}",
        alt=per_class.alt_text(*shown),
        figure=per_class.draw(*shown),
    )
    return DrawnPart([picture], per_class.as_json(*shown))


PARTS: dict[str, Callable[[VisualizationData], DrawnPart]] = {
    "gallery": draw_gallery,
    "tsne": draw_tsne,
    "correlation": draw_correlation,
    "per_class": draw_per_class,
}
