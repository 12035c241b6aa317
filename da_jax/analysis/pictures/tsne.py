"""t-SNE: where networks put the images of some classes, features in two dimensions.

References:
  van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008.
  megvii-research/mdistiller, tools/visualizations/tsne.ipynb (of all classes at once).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import sklearn.manifold
import sklearn.metrics
import threadpoolctl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from da_jax.analysis.pictures.canvas import CLASS_COLORS, new_figure, readable, styled

PERPLEXITY = 30.0
_MARKERS = "os^DvPX*<>"


@dataclasses.dataclass(frozen=True)
class Embedding:
    """One network's features.

    Attributes:
      points: `[N, 2]`, t-SNE's.
      silhouette: of the classes among the features themselves, from -1 to 1.
    """

    points: np.ndarray
    silhouette: float


def choose_examples(
    labels: np.ndarray, classes: Sequence[int], per_class: int, seed: int
) -> np.ndarray:
    """Where random examples of some classes are, class by class.

    Args:
      labels: int `[N]`, of all examples.
      classes: the wanted ones.
      per_class: how many of each, or as many as there are.
      seed: another one draws others.
    """
    rng = np.random.default_rng(seed)
    found = []
    for label in classes:
        of_class = rng.permutation(np.flatnonzero(labels == label))
        found.append(np.sort(of_class[:per_class]))
    return np.concatenate(found)


def embed(features: np.ndarray, labels: np.ndarray, seed: int) -> Embedding:
    """t-SNE of features `[N, C]`, by scikit-learn, starting from their PCA."""
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    tsne = sklearn.manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed)
    # OpenMP's threads wait for each other by spinning: on a busy machine one is faster
    # than several, and the points don't depend on how many there are.
    with threadpoolctl.threadpool_limits(1):
        points = tsne.fit_transform(features)
    return Embedding(
        points=points,
        silhouette=float(sklearn.metrics.silhouette_score(features, labels)),
    )


@styled
def draw(
    embeddings: Sequence[tuple[str, Embedding]],
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    """The networks side by side, a colour and a marker for each class.

    Args:
      embeddings: each with its network's name.
      labels: int `[N]`, of the points.
      class_names: of all classes, in the order of the labels.
    """
    classes = list(dict.fromkeys(labels.tolist()))
    legend_rows = -(-len(classes) // (3 * len(embeddings)))
    size = 4.3
    figure = new_figure(size * len(embeddings), size + 0.75 + 0.19 * legend_rows)
    panels = figure.subplots(1, len(embeddings), squeeze=False)[0]
    for axes, (name, embedding) in zip(panels, embeddings, strict=True):
        for place, label in enumerate(classes):
            axes.scatter(
                *embedding.points[labels == label].T,
                s=13,
                linewidth=0,
                alpha=0.8,
                color=_color(place),
                marker=_marker(place),
            )
        axes.set(xticks=[], yticks=[], box_aspect=1)
        axes.spines[:].set_visible(True)
        axes.set_title(f"{name}\nsilhouette {embedding.silhouette:.3f}")
    handles = [
        Line2D([], [], linewidth=0, color=_color(place), marker=_marker(place))
        for place in range(len(classes))
    ]
    names = [readable(class_names[label]) for label in classes]
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=-(-len(classes) // legend_rows),
        markerscale=0.8,
        handletextpad=0.1,
        columnspacing=1.0,
    )
    return figure


def _color(place: int) -> str:
    return CLASS_COLORS[place % len(CLASS_COLORS)]


def _marker(place: int) -> str:
    """Another for each of the colours, and for each time that a colour is used."""
    return _MARKERS[(place + place // len(CLASS_COLORS)) % len(_MARKERS)]


def in_words(
    embeddings: Sequence[tuple[str, Embedding]], class_names: Sequence[str]
) -> str:
    """What the plots of these classes show, for those who can't see them."""
    silhouettes = [f"{name} {each.silhouette:.3f}" for name, each in embeddings]
    return (
        f"{len(embeddings)} scatter plots side by side, each of the same"
        f" {len(embeddings[0][1].points)} test images of {len(class_names)} classes"
        f" ({', '.join(map(readable, class_names))}), at t-SNE's places for a network's"
        " penultimate features. Silhouette of the classes among the features:"
        f" {', '.join(silhouettes)}."
    )
