"""mdistiller's PyTorch checkpoints as Flax variables."""

from convert.state_dict import convert_state_dict

__all__ = ["convert_state_dict"]
