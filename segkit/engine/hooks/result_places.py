"""Before a validation or a test: where its results go, and that nothing of the user's is there."""

from typing import TYPE_CHECKING

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from segkit.datasets.paths import files_of, image_root, scanned_folders
from segkit.outputs import OutputError, check_outputs, refuse_inside
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


@HOOKS.register_module()
class ResultPlacesHook(Hook):
    """Checks what the metrics and hooks of a run will write before the first picture is predicted.

    One that writes has a method ``planned_files(names, root)``: names and root of the pictures ->
    the option or key that chose the place, and the files. A metric learns the root of the pictures
    here too, so that files made of them keep their sub-folders.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: 'Runner') -> None:
        """Of the validation or test that this run has built."""
        loops: list[object] = [runner._val_loop, runner._test_loop]
        for loop in loops:
            if not isinstance(loop, BaseLoop):
                continue
            metrics = getattr(loop.evaluator, 'metrics', [])
            for metric in metrics:
                metric.image_root = image_root(loop.dataloader.dataset)
            writers = [w for w in (*metrics, *runner.hooks) if getattr(w, 'writes', False)]
            if writers:
                self._check(runner, writers, loop.dataloader.dataset)

    def _check(self, runner: 'Runner', writers: list, dataset: object) -> None:
        root = image_root(dataset)
        files = list(files_of(dataset))
        given = [x for x in (runner.cfg.filename, runner.cfg.get('load_from')) if x]
        images = [image for image, _ in files]
        read = {*images, *(label for _, label in files if label), *map(str, given)}
        planned: dict[str, str] = {}
        for writer in writers:
            place, folder, paths = writer.planned_files(images, root)
            if folder is not None:
                refuse_inside(place, folder, scanned_folders(dataset))
            check_outputs(place, type(writer).__name__, paths, read)
            for path in paths:
                if planned.setdefault(path, place) != place:
                    raise OutputError(
                        f'{place}: {path} is also written by {planned[path]}. Choose two folders'
                    )
