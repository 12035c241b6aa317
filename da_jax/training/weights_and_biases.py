"""Metrics of a run in Weights & Biases (`config.wandb.mode`)."""

import importlib.util
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from da_jax.errors import UserError, install_command, reason
from da_jax.storage.files import read_json, write_json

MODES = ("offline", "online")
"""The values of `config.wandb.mode`; it is off when empty."""


def check(config: Mapping[str, Any]) -> None:
    """Checks that W&B can be used, before anything slow starts.

    Raises:
      UserError: it isn't installed, or no API key is stored. It never prompts for one.
    """
    mode = config["wandb"]["mode"]
    if mode not in MODES:
        return
    installed = importlib.util.find_spec("wandb")
    if installed is None or installed.origin is None:  # `wandb/` is a folder
        raise UserError(
            f"config.wandb.mode is {mode}, but wandb isn't installed:"
            f" {install_command('wandb')}"
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
    # By default it sends error reports, even offline, and prints.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    return wandb


class WeightsAndBiases:
    """The W&B run of a workdir; its id is in `wandb.json`.

    Write the complete history whenever it is opened: offline, the newest folder is then
    complete; online, existing steps are ignored.
    """

    def __init__(
        self, workdir: Path, config: dict[str, Any], log: Callable[[str], None]
    ) -> None:
        """Starts or resumes the W&B run.

        Args:
          workdir: the run's folder.
          config: the run's config.
          log: called with a line to print.

        Raises:
          UserError: W&B can't be reached, or refuses the run.
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
                f"Weights & Biases: {reason(error)}; --config.wandb.mode=offline works"
                " without a server"
            ) from error
        if is_online:
            log(f"Weights & Biases: {self._run.url}")

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Logs an epoch's scalars."""
        self._run.log(scalars, step=step)

    def close(self, failed: bool) -> None:
        """Waits until everything is written or sent.

        Args:
          failed: whether the run ended with an error.
        """
        self._run.finish(exit_code=int(failed))
        _wandb().teardown()  # offline, `finish` doesn't wait for the writer process
