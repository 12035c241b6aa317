"""mdistiller's PyTorch checkpoints as Flax variables, and back."""

from convert.state_dict import (
    convert_state_dict,
    to_numpy_state_dict,
    to_torch_state_dict,
)

__all__ = ["convert_state_dict", "to_numpy_state_dict", "to_torch_state_dict"]
