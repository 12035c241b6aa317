"""Pictures and figures that other commands have left in a run's folder."""

import base64
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from da_jax.analysis.report.json_tables import Table, settings_and_tables
from da_jax.analysis.report.robustness import labelled
from da_jax.errors import reason

FOLDERS = {"robustness": "Robustness", "visualize": "Pictures"}
"""The subfolders that are shown, of a run or of none, and under what heading."""

WIDEST, TALLEST = 1600, 2400
"""Pixels: a larger picture is shrunk."""

LARGEST_AS_IT_IS = 300_000
"""Bytes: a larger PNG is written anew."""

MOST_PIXELS = 60_000_000
"""Of a picture that is read at all."""

MOST_PICTURES = 24
MOST_BYTES = 6_000_000
"""Of all the pictures in one subfolder, as they are embedded."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture for a page that asks nobody for it.

    Attributes:
      title: what it is.
      alt: what it shows, in words.
      uri: the picture itself.
      width: in pixels.
      height: in pixels.
    """

    title: str
    alt: str
    uri: str
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """What such a subfolder has to show.

    Attributes:
      heading: what it is.
      folder: where it lies.
      settings: with which it was made.
      tables: its figures.
      pictures: in the order in which they are described, then of their names.
      remarks: what couldn't be shown.
    """

    heading: str
    folder: Path
    settings: list[tuple[str, str]]
    tables: list[Table]
    pictures: list[Picture]
    remarks: list[str]


def has_exhibits(folder: Path) -> bool:
    """Whether `folder` has a subfolder that is shown."""
    return any((folder / name).is_dir() for name in FOLDERS)


def exhibits(folder: Path) -> list[Exhibit]:
    """What there is to show in the subfolders of `folder`; without any, nothing."""
    found = [
        _exhibit(heading, folder / name)
        for name, heading in FOLDERS.items()
        if (folder / name).is_dir()
    ]
    return [one for one in found if one.tables or one.pictures or one.remarks]


def _exhibit(heading: str, folder: Path) -> Exhibit:
    remarks: list[str] = []
    content: dict[str, Any] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            content |= dict(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            remarks.append(f"{file.name} is damaged: {reason(error)}")
    pictures = list(_pictures(folder, _texts(content), remarks))
    settings: list[tuple[str, str]] = []
    tables: list[Table] = []
    if heading == "Robustness":  # the other's file is of its pictures
        settings, tables = settings_and_tables(labelled(content))
    return Exhibit(heading, folder, settings, tables, pictures, remarks)


def _pictures(
    folder: Path, texts: dict[str, dict[str, str]], remarks: list[str]
) -> Iterator[Picture]:
    size = 0
    places = {name: place for place, name in enumerate(texts)}
    files = sorted(
        folder.glob("*.png"),
        key=lambda file: (places.get(file.name, len(places)), *_natural(file)),
    )
    for number, file in enumerate(files):
        if number >= MOST_PICTURES or size >= MOST_BYTES:
            remarks.append(f"{file.name} is left out: the page would be too large")
            continue
        try:
            content, width, height = _shrunk(file)
        except Exception as error:  # Pillow raises all kinds
            remarks.append(f"{file.name} can't be read: {reason(error)}")
            continue
        size += len(content)
        kind = "png" if content.startswith(b"\x89PNG") else "webp"
        uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        own = texts.get(file.name, {})
        alt = own.get("alt") or file.stem.replace("_", " ")
        yield Picture(own.get("title") or alt, alt, uri, width, height)


def _natural(file: Path) -> tuple[str, int]:
    """`gallery_2` comes before `gallery_10`."""
    name, _, number = file.stem.rpartition("_")
    return (name, int(number)) if number.isdecimal() else (file.stem, 0)


def _shrunk(file: Path) -> tuple[bytes, int, int]:
    """A picture's bytes, bounded in size, and its width and height."""
    with Image.open(file, formats=["PNG"]) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(f"it has {picture.width} × {picture.height} pixels")
        picture.load()
        is_small = picture.width <= WIDEST and picture.height <= TALLEST
        if is_small and file.stat().st_size <= LARGEST_AS_IT_IS:
            return file.read_bytes(), picture.width, picture.height
        smaller = picture.convert("RGBA" if picture.mode in ("RGBA", "P") else "RGB")
        smaller.thumbnail((WIDEST, TALLEST))
        buffer = io.BytesIO()
        smaller.save(buffer, "WEBP", quality=85)
        return buffer.getvalue(), smaller.width, smaller.height


def _texts(content: Any) -> dict[str, dict[str, str]]:
    """`title` and `alt` by the name of their picture, wherever `content` has them.

    It may have `NAME: {"alt": …}`, `{"file": NAME, "alt": …}`, or `NAME: ALT`.
    """
    found: dict[str, dict[str, str]] = {}
    for name, value in _nested(content):
        if isinstance(value, str) and name.endswith(".png"):
            found[name] = {"alt": value}
        if isinstance(value, Mapping):
            texts = {
                key: value[key]
                for key in ("title", "alt")
                if isinstance(value.get(key), str)
            }
            names = [name, *(each for each in value.values() if isinstance(each, str))]
            found |= {each: texts for each in names if each.endswith(".png")}
    return found


def _nested(content: Any) -> Iterator[tuple[str, Any]]:
    """All that `content` holds, at any depth, by its name or number."""
    items: Any = ()
    if isinstance(content, Mapping):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    for name, value in items:
        yield str(name), value
        yield from _nested(value)
