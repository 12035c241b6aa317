"""Conversion between mdistiller's PyTorch checkpoints and Flax variables."""

from da_jax.convert.state_dict import (
    convert_state_dict,
    to_numpy_state_dict,
    to_torch_state_dict,
)

__all__ = ["convert_state_dict", "to_numpy_state_dict", "to_torch_state_dict"]
