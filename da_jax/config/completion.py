"""Completion of a config with the fields of this version."""

from pathlib import Path

from ml_collections import ConfigDict

from da_jax.config.defaults import defaults
from da_jax.config.record import flatten
from da_jax.imports import import_modules
from da_jax.storage.model_folders import import_recorded


def complete(config: ConfigDict) -> ConfigDict:
    """Adds the fields that a config of an earlier version lacks, with their defaults.

    It also imports the modules that the config names in `imports`, and those that the
    folders of its teacher and of `init_checkpoint` name.

    Raises:
      UserError: a module can't be imported.
    """
    import_modules(config.get("imports", ()))
    if config.teacher.checkpoint:
        import_recorded(Path(config.teacher.checkpoint), config.teacher.model)
    if config.get("init_checkpoint"):
        import_recorded(Path(config.init_checkpoint), config.student)
    known = dict(flatten(config.to_dict()))
    missing = {
        field: value
        for field, value in flatten(defaults(config.name, config.student).to_dict())
        if field not in known
    }
    with config.unlocked():
        for field, value in missing.items():
            *sections, name = field.split(".")
            section = config
            for each in sections:
                if each not in section:
                    section[each] = ConfigDict()
                section = section[each]
            section[name] = tuple(value) if isinstance(value, list) else value
    return config
