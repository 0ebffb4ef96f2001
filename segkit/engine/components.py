"""Everything the engine registers, imported in one place for ``segkit.registry``."""

from segkit.engine import hooks, layer_decay, log_processor, loops, optim, runner

__all__ = ['hooks', 'layer_decay', 'log_processor', 'loops', 'optim', 'runner']
