"""What every use of Orbax here has in common."""

import jax
import orbax.checkpoint as ocp


def this_process() -> ocp.options.MultiprocessingOptions:
    """Orbax by itself in this process, waiting for no other."""
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index,
        active_processes={index},
        barrier_sync_key_prefix=f"process_{index}",
    )
