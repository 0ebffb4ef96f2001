"""mmengine's logger without its extra lines.

In training by iterations mmengine also logs at the end of each pass over the dataset, an accident
of the dataset's size ("Iter 8/30" at an interval of 10); here every ``interval`` iterations only.
"""

from mmengine.hooks import LoggerHook as MMLoggerHook

from segkit.registry import HOOKS


@HOOKS.register_module()
class LoggerHook(MMLoggerHook):
    """Logs each ``interval`` iterations and after each validation.

    Args:
        interval: iterations between lines; 50 by default.
        log_metric_by_epoch: whether the step of a validation is an epoch; an iteration by default.
        **kwargs: as in mmengine.
    """

    def __init__(
        self, interval: int = 50, log_metric_by_epoch: bool = False, **kwargs: object
    ) -> None:
        super().__init__(interval=interval, log_metric_by_epoch=log_metric_by_epoch, **kwargs)

    def end_of_epoch(self, dataloader: object, batch_idx: int) -> bool:
        # An iteration-based run is one long epoch: its dataset's passes end nothing.
        return self.log_metric_by_epoch and super().end_of_epoch(dataloader, batch_idx)

    def after_test_iter(self, *args: object, **kwargs: object) -> None:
        """Nothing: the progress bar tells it."""
