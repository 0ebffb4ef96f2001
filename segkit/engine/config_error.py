"""The error for a config that cannot be meant as it stands."""


class ConfigError(ValueError):
    """A key, type or argument of a config is wrong; the message names it and the nearest right."""
