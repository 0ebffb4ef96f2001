"""The Cityscapes metric under its older name."""

from typing import Any

from segkit.evaluation import IoUMetric
from segkit.registry import METRICS


@METRICS.register_module()
class CityscapesMetric(IoUMetric):
    """`IoUMetric` that also writes predictions as Cityscapes' label ids into ``output_dir``.

    The scores are those of IoUMetric, which the official script gives for the same files, under
    their names here (mIoU). The files stay (``keep_results=False`` is not followed).
    """

    def __init__(
        self,
        output_dir: str,
        ignore_index: int = 255,
        format_only: bool = False,
        keep_results: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            ignore_index=ignore_index,
            output_dir=output_dir,
            format_only=format_only,
            collect_device=collect_device,
            prefix=prefix,
            **kwargs,
        )
