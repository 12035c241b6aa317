"""PARTS: what can be drawn of a study, each with the numbers in it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from da_jax.analysis.gallery import create_gallery
from da_jax.analysis.pictures import correlation, gallery, per_class, tsne
from da_jax.analysis.pictures.canvas import Picture
from da_jax.analysis.pictures.study import Study


class Part(NamedTuple):
    """What has become of a part.

    Attributes:
      pictures: one or more.
      numbers: for `visualize.json`.
    """

    pictures: list[Picture]
    numbers: Any


def draw_gallery(study: Study) -> Part:
    """The gallery of each student, on pages that are numbered through."""
    dataset, options = study.dataset, study.options
    pictures: list[Picture] = []
    numbers = []
    for student in study.students:
        shown = create_gallery(
            student.network,
            study.teacher.network,
            dataset.test,
            dataset.preprocessing,
            options.images,
            steps=options.steps,
            learning_rate=options.learning_rate,
        )
        names = student.name, study.teacher.name
        pages = gallery.draw(shown, dataset.preprocessing, dataset.class_names, *names)
        for page, figure in enumerate(pages):
            rows = range(len(shown.indices))[page * gallery.ROWS :][: gallery.ROWS]
            pictures.append(
                Picture(
                    name=f"gallery_{len(pictures) + 1}.png",
                    title=f"Test images where {names[0]} and {names[1]} disagree",
                    alt=gallery.in_words(shown, rows, names, dataset.class_names),
                    figure=figure,
                )
            )
        numbers.append(gallery.in_numbers(shown, names, dataset.class_names))
    return Part(pictures, numbers)


def draw_tsne(study: Study) -> Part:
    """The features of the students and the teacher, side by side."""
    dataset, options = study.dataset, study.options
    labels = np.asarray(dataset.test.labels)
    chosen = tsne.choose_examples(
        labels, options.classes, options.images_per_class, options.seed
    )
    embeddings = []
    for subject in study.subjects:
        features = study.predictions(subject).features[chosen]
        embedding = tsne.embed(features, labels[chosen], options.seed)
        embeddings.append((subject.name, embedding))
    class_names = [dataset.class_names[label] for label in options.classes]
    picture = Picture(
        name="tsne.png",
        title="Features of some classes, by t-SNE",
        alt=tsne.in_words(embeddings, class_names),
        figure=tsne.draw(embeddings, labels[chosen], dataset.class_names),
    )
    numbers = {
        "classes": class_names,
        "images": chosen.tolist(),
        "seed": options.seed,
        "networks": [
            {"network": name, "silhouette": embedding.silhouette}
            for name, embedding in embeddings
        ],
    }
    return Part([picture], numbers)


def draw_correlation(study: Study) -> Part:
    """How each student's class correlations and means differ from the teacher's."""
    labels = np.asarray(study.dataset.test.labels)
    class_names = study.dataset.class_names
    *of_students, of_teacher = [
        correlation.class_means(study.predictions(subject).logits, labels)
        for subject in study.subjects
    ]
    names = [student.name for student in study.students]
    teacher = study.teacher.name
    differences = [correlation.difference(each, of_teacher) for each in of_students]
    named = list(zip(names, differences, strict=True))
    order = correlation.clustered_order(of_teacher)
    words = [
        correlation.in_words(each, name, teacher, class_names) for name, each in named
    ]
    picture = Picture(
        name="correlation.png",
        title=f"Differences to {teacher} in what classes look alike",
        alt="Heat maps of all pairs of classes. " + " ".join(words),
        figure=correlation.draw(named, teacher, order, class_names),
    )
    numbers = [
        correlation.in_numbers(each, name, teacher, class_names) for name, each in named
    ]
    return Part([picture], numbers)


def draw_per_class(study: Study) -> Part:
    """The student against the teacher, or the second student against the first."""
    before, after = [study.teacher, *study.students][-2:]
    labels = np.asarray(study.dataset.test.labels)
    class_names = study.dataset.class_names
    was_right, is_right = (
        study.predictions(each).is_right(labels) for each in (before, after)
    )
    changes = per_class.change(was_right, is_right, labels, study.dataset.num_classes)
    shown = changes, before.name, after.name, class_names
    picture = Picture(
        name="per_class.png",
        title=f"Accuracy by class, {after.name} against {before.name}",
        alt=per_class.in_words(*shown),
        figure=per_class.draw(*shown),
    )
    return Part([picture], per_class.in_numbers(*shown))


PARTS: dict[str, Callable[[Study], Part]] = {
    "gallery": draw_gallery,
    "tsne": draw_tsne,
    "correlation": draw_correlation,
    "per_class": draw_per_class,
}
