"""A config with every field, and its sections."""

from ml_collections import ConfigDict

from da_jax.augmentations import AUGMENTATIONS
from da_jax.config.fields import FIELDS, config_section, sections
from da_jax.methods import METHODS


def sections_in_use(config: ConfigDict) -> dict[str, str]:
    """Returns the section of a config's method and that of its augmentation."""
    return {
        "method": config.method,
        "augmentation": config_section(AUGMENTATIONS, config.augmentation),
    }


def defaults(name: str, student: str) -> ConfigDict:
    """Returns a config with every field. The run `name` has no teacher yet."""
    config = ConfigDict()
    for field, declared in FIELDS.items():
        *of_section, last = field.split(".")
        section = config
        for each in of_section:
            if each not in section:
                section[each] = ConfigDict()
            section = section[each]
        section[last] = declared.default
    config.name, config.student = name, student
    config.update(sections(METHODS))
    config.update(sections(AUGMENTATIONS))
    return config
