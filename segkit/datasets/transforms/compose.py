"""A pipeline: the transforms of a config, applied one after the other."""

from collections.abc import Callable, Sequence

from mmengine.registry import DefaultScope

from segkit.registry import TRANSFORMS

from .fast import fuse


class Compose:
    """Builds the transforms from this project's registry (mmengine's knows its own scope only).

    Args:
        transforms: configs or callables; ``self.transforms`` holds them as built.
        fast: run the fused form of the list where it has one (see ``fast.py``).
        crop_first: near-exact resize of the crop alone, in the fused form.
    """

    def __init__(
        self,
        transforms: Sequence[dict | Callable] | None,
        fast: bool = False,
        crop_first: bool = False,
    ) -> None:
        # Wrappers such as RandomApply build their inner transforms through the parent registry,
        # which finds ours only while the default scope is ours.
        with DefaultScope.overwrite_default_scope('segkit'):
            self.transforms = [
                TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms or ()
            ]
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f'A transform must be a dict or callable, not {type(transform)}.')
        self._steps = fuse(self.transforms, crop_first) if fast else self.transforms

    def __call__(self, results: dict) -> dict | None:
        for transform in self._steps:
            results = transform(results)
            if results is None:
                return None
        return results

    def __repr__(self) -> str:
        return 'Compose(\n' + ''.join(f'    {t}\n' for t in self.transforms) + ')'
