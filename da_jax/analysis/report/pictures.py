"""Results of the other commands in a folder: tables and pictures."""

import base64
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from da_jax.analysis.report.json_tables import Table
from da_jax.analysis.report.robustness import describe
from da_jax.errors import reason

FOLDERS = {"robustness": "Robustness", "visualize": "Pictures"}
"""Subfolders, and their headings in the report."""

WIDEST, TALLEST = 1600, 2400
"""The largest size in pixels; larger pictures are shrunk."""

LARGEST_AS_IT_IS = 300_000
"""Bytes; larger PNGs are re-encoded."""

MOST_PIXELS = 60_000_000
"""Larger pictures aren't read."""

MOST_PICTURES = 24
MOST_BYTES = 6_000_000
"""Limits on the embedded pictures of a subfolder."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that is embedded in the page.

    Attributes:
      title: its caption.
      alt: its description in words.
      uri: its content as a data URI.
      width: in pixels.
      height: in pixels.
    """

    title: str
    alt: str
    uri: str
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Attachment:
    """The content of a subfolder.

    Attributes:
      heading: its heading in the report.
      folder: the subfolder.
      settings: names and values.
      tables: its results.
      pictures: in the order of their descriptions, then of their names.
      remarks: what couldn't be shown, and why.
    """

    heading: str
    folder: Path
    settings: list[tuple[str, str]]
    tables: list[Table]
    pictures: list[Picture]
    remarks: list[str]


def has_attachments(folder: Path) -> bool:
    """Returns whether `folder` has one of the subfolders `FOLDERS`."""
    return any((folder / name).is_dir() for name in FOLDERS)


def attachments(folder: Path) -> list[Attachment]:
    """Reads the subfolders `FOLDERS` of `folder`; damaged files become remarks."""
    found = [
        _read_attachment(heading, folder / name)
        for name, heading in FOLDERS.items()
        if (folder / name).is_dir()
    ]
    return [one for one in found if one.tables or one.pictures or one.remarks]


def _read_attachment(heading: str, folder: Path) -> Attachment:
    remarks: list[str] = []
    content: dict[str, Any] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            content |= dict(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            remarks.append(f"{file.name} is damaged: {reason(error)}")
    pictures = list(read_pictures(folder, _texts(content), remarks))
    settings: list[tuple[str, str]] = []
    tables: list[Table] = []
    if heading == "Robustness":  # visualize.json describes the pictures
        settings, tables = describe(content)
    return Attachment(heading, folder, settings, tables, pictures, remarks)


def read_pictures(
    folder: Path, texts: Mapping[str, Mapping[str, str]], remarks: list[str]
) -> Iterator[Picture]:
    """Reads the PNG files of a folder, shrunk if they are large.

    Args:
      folder: of the files.
      texts: `title` and `alt` by file name, in the order of the pictures.
      remarks: extended by what can't be shown, and why.
    """
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
    """Returns a sort key that puts `gallery_2` before `gallery_10`."""
    name, _, number = file.stem.rpartition("_")
    return (name, int(number)) if number.isdecimal() else (file.stem, 0)


def _shrunk(file: Path) -> tuple[bytes, int, int]:
    """Reads a picture, shrunk if it is large; returns its bytes, width and height."""
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
    """Finds the `title` and `alt` of pictures anywhere in `content`, by file name.

    They may be given as `NAME: {"alt": …}`, `{"file": NAME, "alt": …}` or `NAME: ALT`.
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
    """Yields all nested values with their key or index."""
    items: Any = ()
    if isinstance(content, Mapping):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    for name, value in items:
        yield str(name), value
        yield from _nested(value)
