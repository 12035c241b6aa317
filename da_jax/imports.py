"""Imports of the modules that add a user's networks, data sets and methods."""

import importlib
import os
import sys
from collections.abc import Iterable

from da_jax.errors import UserError, reason


def import_modules(names: Iterable[str]) -> None:
    """Imports modules, which may also be in the working directory.

    Args:
      names: of the modules, such as `my_package.methods`.

    Raises:
      UserError: one of them can't be imported.
    """
    for name in names:
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            importlib.import_module(name)
        except Exception as error:  # a module can raise anything
            raise UserError(
                f"{name} can't be imported: {reason(error)}; install it or start in its"
                " folder"
            ) from error
