"""A reader of safetensors files, which doesn't need PyTorch."""

from typing import IO

import ml_dtypes
import numpy as np

from da_jax.errors import UserError, printable, reason

DTYPES: dict[str, type] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""NumPy's dtypes by safetensors' names."""


def is_safetensors(file: IO[bytes]) -> bool:
    """Returns whether a file starts as the format does; rewinds it."""
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    return start[8:] == b"{"  # a JSON object after its length, of 8 bytes


def load_arrays(file: IO[bytes], name: str) -> dict[str, np.ndarray]:
    """Reads the arrays of a file.

    Args:
      file: in the safetensors format.
      name: the file's name in messages.

    Raises:
      UserError: it is damaged, or has arrays of another dtype than `DTYPES`.
    """
    import safetensors

    file.seek(0)
    try:
        tensors = safetensors.deserialize(file.read())
    except safetensors.SafetensorError as error:
        raise UserError(
            f"{name} isn't a readable safetensors file: {reason(error)}"
        ) from error
    arrays = {}
    for key, tensor in tensors:
        if tensor["dtype"] not in DTYPES:
            raise UserError(
                f"{name}: {printable(key)} is of dtype {tensor['dtype']}; known:"
                f" {', '.join(DTYPES)}"
            )
        dtype = np.dtype(DTYPES[tensor["dtype"]])
        arrays[key] = np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])
    return arrays
