"""A reader of cifar-100-python's pickles that doesn't execute code.

A pickle can name any function and have it called. Here the five names that an array of
bytes needs become stand-ins that only store their arguments; other names are errors.
"""

import io
import math
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from da_jax.errors import UserError

MAX_ENTRIES = 16
"""The most entries of a dictionary; official ones have at most 5."""
MAX_VALUES = 50_000
"""The longest list: the labels of the training set."""
MAX_TEXT_BYTES = 1000
"""The longest key or name."""


def load_pickle(name: str, content: bytes) -> dict[str, Any]:
    """Reads a pickled dictionary of plain values and uint8 arrays.

    Args:
      name: of the file, for messages.
      content: the pickle.

    Returns:
      The dictionary, with keys of type str.

    Raises:
      UserError: the pickle is damaged or holds something else.
    """
    try:
        entries = _Unpickler(io.BytesIO(content)).load()
        if not isinstance(entries, dict):
            raise pickle.UnpicklingError("it holds no dictionary")
        if len(entries) > MAX_ENTRIES:
            raise pickle.UnpicklingError(f"it has {len(entries)} entries")
        return {_text(key): _plain(value) for key, value in entries.items()}
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(
            f"{name} isn't a pickle of CIFAR-100 ({error or type(error).__name__});"
            " download the archive again"
        ) from error


class _Dtype:
    """Stands in for `numpy.dtype`."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """Ignores byte order and the like, which don't matter for bytes."""


class _Array:
    """Stands in for `numpy.ndarray`."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_numpy(self) -> np.ndarray:
        _, shape, dtype, fortran_order, content = self.state
        if not isinstance(dtype, _Dtype) or _text(dtype.code) not in ("u1", "|u1"):
            raise pickle.UnpicklingError("an array of something else than bytes")
        if isinstance(content, _Encoded):
            content = content.text
        if isinstance(content, str):
            content = content.encode("latin1")
        if not all(type(size) is int for size in shape):
            raise pickle.UnpicklingError("an array without a shape")
        if math.prod(shape) != len(content):
            raise pickle.UnpicklingError("an array of another size than its shape")
        values = np.frombuffer(content, np.uint8)
        if fortran_order:
            return values.reshape(shape[::-1]).transpose()
        return values.reshape(shape)


def _reconstruct(*_: Any) -> _Array:
    """Stands in for NumPy's function of that name."""
    return _Array()


class _Encoded:
    """Stands in for `_codecs.encode`'s results, Python 3's bytes in protocol 2.

    Encodes only when the bytes are needed: a short pickle can repeat a long text.
    """

    def __init__(self, text: Any, encoding: Any = "latin1") -> None:
        if encoding != "latin1" or not isinstance(text, str):
            raise pickle.UnpicklingError("text in an unexpected encoding")
        self.text = text

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Encoded) and self.text == other.text


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _Encoded,
}


class _Unpickler(pickle._Unpickler):
    """Python's implementation; the one in C allocates memory for any index."""

    dispatch: ClassVar = {
        opcode: load
        for opcode, load in pickle._Unpickler.dispatch.items()
        if opcode != pickle.BYTEARRAY8[0]  # it allocates before it reads
    }

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="bytes")  # Python 2's strings may be bytes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STAND_INS[module, name]

    def persistent_load(self, persistent_id: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside")


def _text(value: Any) -> Any:
    """Decodes a key or a name; returns other values unchanged."""
    if isinstance(value, _Encoded):
        value = value.text
    if isinstance(value, bytes | str) and len(value) > MAX_TEXT_BYTES:
        raise pickle.UnpicklingError(f"a name of {len(value)} bytes")
    return value.decode("ascii") if isinstance(value, bytes) else value


def _plain(value: Any) -> Any:
    """Converts stand-ins to NumPy arrays and text."""
    if isinstance(value, _Array):
        return value.to_numpy()
    if isinstance(value, list):
        if len(value) > MAX_VALUES:
            raise pickle.UnpicklingError(f"a list of {len(value)} values")
        return [_text(item) for item in value]
    return value
