"""Per-class scores to whatever the run logs to (TensorBoard, scalars.json)."""

from __future__ import annotations

import numpy as np
from mmengine.logging import MessageHub
from mmengine.visualization import Visualizer

from .scores import Scores


def publish_class_scores(scores: Scores) -> None:
    """Send IoU and accuracy of each class in percent as ``class_IoU/NAME``, ``class_Acc/NAME``.

    Does nothing where no run has made a visualizer. The step is the current iteration of training.
    """
    # Asking mmengine for the current instance would make one, and warn.
    if not Visualizer._instance_dict:
        return
    step = int(MessageHub.get_current_instance().get_info('iter') or 0)
    columns = scores.per_class()
    values = {
        f'class_{heading}/{name}': float(columns[heading][i])
        for heading in ('IoU', 'Acc')
        for i, name in enumerate(scores.classes)
        if not np.isnan(columns[heading][i])
    }
    Visualizer.get_current_instance().add_scalars(values, step=step)
