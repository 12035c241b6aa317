"""A run's metrics in Weights & Biases, where its config asks for that."""

import importlib.util
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from da_jax.errors import UserError, reason
from da_jax.storage.files import read_json, write_json

MODES = ("offline", "online")
"""Of `config.wandb.mode`; empty is off."""


def check(config: Mapping[str, Any]) -> None:
    """Looks whether W&B can be written to, before anything slow starts.

    Raises:
      UserError: it isn't installed, or nobody has logged in: nobody is asked to.
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
    """The W&B run of a workdir: always the one that its `wandb.json` names.

    Whoever opens it tells it the run's whole history. So what was written offline is
    complete in the newest folder, and what is online knows steps that it is told again.
    """

    def __init__(self, workdir: Path, config: dict[str, Any]) -> None:
        """Starts it, or goes on with it.

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
            tqdm.write(f"Weights & Biases: {self._run.url}")

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Logs an epoch's scalars."""
        self._run.log(scalars, step=step)

    def close(self, failed: bool) -> None:
        """Waits until everything is written, or sent."""
        self._run.finish(exit_code=int(failed))
        _wandb().teardown()  # offline `finish` doesn't wait for the process that writes
