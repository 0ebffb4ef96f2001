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
        backend, precision, fixed_sizes, calibration: what runs it, as ``init_model`` takes them.
        checkpoint: where its weights are from, or an exported network that stands for it.
    """

    # After hooks that exchange the weights for a test, as EMA does.
    priority = 'LOWEST'

    def __init__(
        self,
        fuse_bn: bool = False,
        channels_last: bool = False,
        bf16: bool = False,
        backend: str | None = None,
        precision: str = 'fp32',
        fixed_sizes: bool = False,
        calibration: int = 32,
        checkpoint: str | None = None,
    ) -> None:
        self.switches: dict[str, Any] = dict(
            fuse_bn=fuse_bn, channels_last=channels_last, bf16=bf16
        )
        self.engine: dict[str, Any] = dict(
            precision=precision, fixed_sizes=fixed_sizes, calibration=calibration
        )
        self.backend, self.checkpoint = backend, checkpoint

    def before_test_epoch(self, runner: 'Runner') -> None:
        from segkit.apis.backends import chosen, with_backend
        from segkit.models.inference.fuse import speed_up

        model: Any = bare(runner.model)
        speed_up(model, **self.switches)
        names = [name for name, on in self.switches.items() if on]
        settings = chosen(self.backend, self.checkpoint, **self.engine)
        if not settings.plain:
            names.append(settings.name)
            model.cfg = runner.cfg  # which an exported network carries along
            model.dataset_meta = getattr(model, 'dataset_meta', None) or {}
            with_backend(model, settings, self.checkpoint)
        runner.logger.info(f'Faster inference: {", ".join(names)}.')
