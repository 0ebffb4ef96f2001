"""Everything the engine registers, imported in one place for ``segkit.registry``."""

from segkit.engine import amp, hooks, layer_decay, loops, runner

__all__ = ['amp', 'hooks', 'layer_decay', 'loops', 'runner']
