"""A reader of mdistiller's release archive `cifar_teachers.tar`.

The archive holds files such as `resnet32x4_vanilla/ckpt_epoch_240.pth`, which are read
without unpacking them to disk.
"""

import contextlib
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from da_jax.errors import UserError

CHECKPOINT = re.compile(r"(?:.*/)?([^/]+)_vanilla/ckpt_epoch_(\d+)\.pth")
"""A teacher's file name, with groups for its architecture and epoch."""

MAX_MEMBER_BYTES = 1_000_000_000
"""The largest teacher has about 95 MB, twice that with its optimiser state."""


class Release:
    """The teachers of an open archive.

    Attributes:
      models: their architectures, in the archive's order.
    """

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path = path
        self._tar = tar
        self._members = self._find()
        self.models = list(self._members)

    def _find(self) -> dict[str, tarfile.TarInfo]:
        """Finds the last checkpoint of each architecture."""
        found: dict[str, tuple[int, tarfile.TarInfo]] = {}
        for member in self._tar:
            _check(self._path, member)
            if match := CHECKPOINT.fullmatch(member.name):
                epoch = int(match[2])
                if epoch >= found.get(match[1], (0, member))[0]:
                    found[match[1]] = epoch, member
        if not found:
            raise UserError(
                f"{self._path} holds no teacher NAME_vanilla/ckpt_epoch_EPOCH.pth"
            )
        return {model: member for model, (_, member) in found.items()}

    def name(self, model: str) -> str:
        """Returns the name of an architecture's checkpoint for messages."""
        return f"{self._path}:{self._members[model].name}"

    def open(self, model: str) -> IO[bytes]:
        """Reads the checkpoint of an architecture into memory.

        Raises:
          UserError: that part of the archive is damaged.
        """
        with _damage_as_user_error(self._path):
            content = self._tar.extractfile(self._members[model])
            assert content is not None, "a regular member has content"
            return io.BytesIO(content.read())


@contextlib.contextmanager
def open_release(path: Path) -> Iterator[Release]:
    """Opens an uncompressed archive.

    Raises:
      UserError: it doesn't exist, is damaged, holds no teacher, or holds a link, a
        device or a path that leads outside.
    """
    with contextlib.ExitStack() as stack:
        with _damage_as_user_error(path):
            tar = stack.enter_context(tarfile.open(path, "r:"))
            release = Release(path, tar)
        yield release


@contextlib.contextmanager
def _damage_as_user_error(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"there is no archive {path}") from None
    except UserError:
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        raise UserError(
            f"{path} isn't a readable tar archive ({error or type(error).__name__});"
            " download it again"
        ) from error


def _check(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise UserError(f"{path} is refused: its member {member.name} points outside")
    if not (member.isreg() or member.isdir()):
        raise UserError(
            f"{path} is refused: its member {member.name} is a link or a device"
        )
    if member.size > MAX_MEMBER_BYTES:
        raise UserError(f"{path} is refused: {member.name} is larger than any teacher")
