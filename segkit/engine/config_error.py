"""The error for a config that cannot be meant as it stands."""

from segkit.errors import UserError


class ConfigError(UserError):
    """A key, type or argument of a config is wrong; the message names it and the nearest right."""
