"""Several processes: joining them, and values that all must agree on."""

import json
import os
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from da_jax.errors import UserError


def start_processes(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Joins this process with those of other hosts, before JAX is used for anything.

    Args:
      coordinator_address: HOST:PORT of the first process; None for what the cluster's
        environment says (Slurm, Open MPI, Kubernetes, TPU pods), as for the others.
      num_processes: how many there are.
      process_id: of this process, from 0.

    Raises:
      UserError: they can't be joined.
    """
    try:
        jax.distributed.initialize(coordinator_address, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the processes can't be joined: {reason}") from error


def device_description() -> dict[str, Any]:
    """Describes the devices of all processes, for `results.json`.

    For CPUs it also counts the cores this process may use, where the system tells.
    """
    device = jax.devices()[0]
    description: dict[str, Any] = {
        "platform": device.platform,
        "kind": device.device_kind,
        "count": jax.device_count(),
    }
    if device.platform == "cpu" and hasattr(os, "sched_getaffinity"):
        description["cores"] = len(os.sched_getaffinity(0))
    return description


def is_first_process() -> bool:
    """Whether this is the process that writes files and prints."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Whether there is no other process."""
    return jax.process_count() == 1


def from_first_process(value: Any) -> Any:
    """Returns a JSON value of the first process, in all of them."""
    if jax.process_count() == 1:
        return value
    content = np.frombuffer(json.dumps(value).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    buffer = np.zeros(length, np.uint8)
    if is_first_process():
        buffer[:] = content
    return json.loads(multihost_utils.broadcast_one_to_all(buffer).tobytes())


def arrays_from_first_process(tree: Any) -> Any:
    """Returns the first process's arrays, in all; each has a tree of these shapes."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.broadcast_one_to_all(tree)
