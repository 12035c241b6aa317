"""t-SNE plots of networks' features for the test images of some classes.

References:
  van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008.
  megvii-research/mdistiller, tools/visualizations/tsne.ipynb (all classes).
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
    """The embedding of a network's features.

    Attributes:
      points: `[N, 2]`, by t-SNE.
      silhouette: the silhouette score of the classes in feature space, from -1 to 1.
    """

    points: np.ndarray
    silhouette: float


def sample_examples(
    labels: np.ndarray, classes: Sequence[int], per_class: int, seed: int
) -> np.ndarray:
    """Samples the indices of examples of some classes, class by class.

    Args:
      labels: int `[N]`, of all examples.
      classes: the classes.
      per_class: the number of examples of each, at most.
      seed: of the sampling.
    """
    rng = np.random.default_rng(seed)
    sampled = []
    for label in classes:
        of_class = rng.permutation(np.flatnonzero(labels == label))
        sampled.append(np.sort(of_class[:per_class]))
    return np.concatenate(sampled)


def embed(features: np.ndarray, labels: np.ndarray, seed: int) -> Embedding:
    """Embeds features `[N, C]` by scikit-learn's t-SNE, initialised with PCA."""
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    tsne = sklearn.manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed)
    # OpenMP's threads spin while they wait: on a busy machine one is faster than
    # several. The points don't depend on their number.
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
    """Draws the networks side by side, with a colour and a marker for each class.

    Args:
      embeddings: with the networks' names.
      labels: int `[N]`, of the points.
      class_names: of all classes, by label.
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
    """Returns a marker that differs between neighbours and between equal colours."""
    return _MARKERS[(place + place // len(CLASS_COLORS)) % len(_MARKERS)]


def alt_text(
    embeddings: Sequence[tuple[str, Embedding]], class_names: Sequence[str]
) -> str:
    """Describes the plots in words."""
    silhouettes = [f"{name} {each.silhouette:.3f}" for name, each in embeddings]
    return (
        f"{len(embeddings)} scatter plots side by side, each of the same"
        f" {len(embeddings[0][1].points)} test images of {len(class_names)} classes"
        f" ({', '.join(map(readable, class_names))}), placed by t-SNE of a network's"
        " penultimate features. Silhouette scores of the classes in feature space:"
        f" {', '.join(silhouettes)}."
    )
