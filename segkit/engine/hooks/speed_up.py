"""The inference switches of ``tools/test.py``, applied once the checkpoint is in the network."""

from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from segkit.engine.model_setup import bare
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


@HOOKS.register_module()
class SpeedUpHook(Hook):
    """Makes the network faster before a test; see ``segkit.models.inference.fuse.speed_up``.

    Args:
        fuse_bn: fold batch norms into their convolutions.
        channels_last: lay maps out channels last.
        bf16: run the network under bfloat16 autocast. Classes change a little.
    """

    # After hooks that exchange the weights for a test, as EMA does.
    priority = 'LOWEST'

    def __init__(
        self, fuse_bn: bool = False, channels_last: bool = False, bf16: bool = False
    ) -> None:
        self.switches: dict[str, Any] = dict(
            fuse_bn=fuse_bn, channels_last=channels_last, bf16=bf16
        )

    def before_test_epoch(self, runner: 'Runner') -> None:
        from segkit.models.inference.fuse import speed_up

        speed_up(bare(runner.model), **self.switches)
        names = ', '.join(name for name, on in self.switches.items() if on)
        runner.logger.info(f'Faster inference: {names}.')
