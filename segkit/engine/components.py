"""Everything the engine registers, imported in one place for ``segkit.registry``."""

from segkit.engine import amp, hooks, layer_decay, log_processor, loops, runner

__all__ = ['amp', 'hooks', 'layer_decay', 'log_processor', 'loops', 'runner']
