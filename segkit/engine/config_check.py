"""Checks of a config before anything is built from it."""

from segkit.engine.config_error import ConfigError

__all__ = ['ConfigError', 'check_config']


def check_config(cfg) -> None:
    """Placeholder until the checks land."""
