"""A run's metrics in Weights & Biases, if its config asks for that."""

import importlib.util
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from da_jax.errors import UserError, reason
from da_jax.storage.files import read_json, write_json

MODES = ("offline", "online")
"""Of `config.wandb.mode`; empty is off."""


def check(config: Mapping[str, Any]) -> None:
    """Checks that W&B can be written to, before anything slow starts.

    Raises:
      UserError: it isn't installed, or no key is stored; it never asks for one.
    """
    mode = config["wandb"]["mode"]
    if mode not in MODES:
        return
    installed = importlib.util.find_spec("wandb")
    if installed is None or installed.origin is None:  # W&B's folders have its name too
        raise UserError(
            f"config.wandb.mode is {mode}, but wandb isn't installed:"
            " pip install -e '.[wandb]'"
        )
    if mode == "online" and not _has_a_key():
        raise UserError(
            "config.wandb.mode is online, but there is no key of Weights & Biases on"
            " this machine: run `wandb login`, set WANDB_API_KEY, or choose"
            " --config.wandb.mode=offline"
        )


def _has_a_key() -> bool:
    wandb = _wandb()
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.Error as error:
        raise UserError(f"Weights & Biases: {reason(error)}") from error


def _wandb() -> Any:
    # It would report its errors to its makers, even offline; and speak of itself.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    return wandb


class WeightsAndBiases:
    """The W&B run of a workdir, named by its `wandb.json`.

    It is given the whole history whenever it is opened: offline, the newest folder
    is then complete; online, steps that are there already are ignored.
    """

    def __init__(
        self, workdir: Path, config: dict[str, Any], log: Callable[[str], None]
    ) -> None:
        """Starts or resumes it.

        Args:
          workdir: the run's folder.
          config: the run's.
          log: is called with a line for the user.

        Raises:
          UserError: W&B can't be reached or refuses.
        """
        wandb = _wandb()
        file = workdir / "wandb.json"
        if not file.exists():
            write_json(file, {"id": secrets.token_hex(8)})
        is_online = config["wandb"]["mode"] == "online"
        try:
            self._run = wandb.init(
                project=config["wandb"]["project"],
                id=read_json(file)["id"],
                name=workdir.resolve().name,
                config=config,
                dir=workdir,
                mode=config["wandb"]["mode"],
                resume="allow" if is_online else None,
                reinit="finish_previous",
                settings=wandb.Settings(console="off", disable_git=True),
            )
        except wandb.Error as error:
            raise UserError(
                f"Weights & Biases: {reason(error)}; --config.wandb.mode=offline does"
                " without its server"
            ) from error
        if is_online:
            log(f"Weights & Biases: {self._run.url}")

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Logs an epoch's scalars."""
        self._run.log(scalars, step=step)

    def close(self, failed: bool) -> None:
        """Waits until everything is written or sent."""
        self._run.finish(exit_code=int(failed))
        _wandb().teardown()  # offline `finish` doesn't wait for the process that writes
