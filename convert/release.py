"""mdistiller's release archive `cifar_teachers.tar`, read as it is.

It holds folders such as `resnet32x4_vanilla/ckpt_epoch_240.pth`. Nothing is unpacked to
disk.
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
"""A teacher in the archive: its architecture and epoch."""

MAX_MEMBER_BYTES = 1_000_000_000
"""The largest teacher has about 95 MB, with its optimiser twice that."""


class Release:
    """The teachers of an open archive.

    Attributes:
      models: the architectures it holds, in its order.
    """

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path = path
        self._tar = tar
        self._members = self._find()
        self.models = list(self._members)

    def _find(self) -> dict[str, tarfile.TarInfo]:
        """The last checkpoint of each architecture."""
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
        """What to call the checkpoint of an architecture."""
        return f"{self._path}:{self._members[model].name}"

    def open(self, model: str) -> IO[bytes]:
        """The checkpoint of an architecture, in memory.

        Raises:
          UserError: the archive is damaged there.
        """
        with _damage_as_user_error(self._path):
            content = self._tar.extractfile(self._members[model])
            assert content is not None, "a regular member has content"
            return io.BytesIO(content.read())


@contextlib.contextmanager
def open_release(path: Path) -> Iterator[Release]:
    """Opens an archive; it isn't compressed, so it holds no more than it seems to.

    Raises:
      UserError: it isn't there, is damaged, holds no teacher, or a member that points
        outside, a link or a device.
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
            f"{path} is no readable tar archive ({error or type(error).__name__});"
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
