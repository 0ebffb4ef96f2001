"""What travels with one image: its labels, its prediction and where it came from.

Legend: H, W height and width; K number of classes.

    gt_sem_seg    (1, H, W) uint8 or int64   class indices, 255 = ignore
    seg_logits    (K, H, W) float            kept only on request, it is by far the largest
    pred_sem_seg  (1, H, W) uint8 or int64   class indices

Metainfo: img_path, seg_map_path; ori_shape, img_shape, pad_shape, each (H, W); scale_factor (w, h);
flip, flip_direction, reduce_zero_label; padding_size or img_padding_size (left, right, top,
bottom).
"""

from mmengine.structures import BaseDataElement, PixelData

__all__ = ['PixelData', 'SegDataSample']


def _field(name: str, doc: str) -> property:
    """A ``PixelData`` attribute of a data element, with type check, under its public name."""
    private = f'_{name}'

    def getter(self: BaseDataElement) -> PixelData:
        return getattr(self, private)

    def setter(self: BaseDataElement, value: PixelData) -> None:
        self.set_field(value, private, dtype=PixelData)

    def deleter(self: BaseDataElement) -> None:
        delattr(self, private)

    return property(getter, setter, deleter, doc)


class SegDataSample(BaseDataElement):
    """Labels, logits and prediction of one image; see the legend above.

    Example:
        >>> sample = SegDataSample(metainfo=dict(ori_shape=(4, 4)))
        >>> sample.gt_sem_seg = PixelData(data=torch.zeros(1, 4, 4, dtype=torch.uint8))
    """

    gt_sem_seg = _field('gt_sem_seg', 'Labels, (1, H, W).')
    pred_sem_seg = _field('pred_sem_seg', 'Predicted classes, (1, H, W).')
    seg_logits = _field('seg_logits', 'Scores at the original size, (K, H, W).')
