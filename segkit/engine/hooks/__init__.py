"""What happens around the iterations: logging, saving, stopping."""

from segkit.old_names import serve

from .certainty import CertaintyHook
from .checkpoint import CheckpointHook
from .each_iteration import IterTimerHook, RuntimeInfoHook, SharedLossesHook
from .early_stopping import EarlyStoppingHook
from .first_batches import FirstBatchesHook
from .logger import LoggerHook, ProgressHook
from .non_finite import NonFiniteLossHook
from .predictions import PredictionFileHook
from .preemption import PreemptionHook
from .report import ReportHook
from .result_places import ResultPlacesHook
from .run_card import RunCardHook
from .speed_up import SpeedUpHook

__all__ = [
    'CertaintyHook',
    'CheckpointHook',
    'EarlyStoppingHook',
    'FirstBatchesHook',
    'IterTimerHook',
    'LoggerHook',
    'NonFiniteLossHook',
    'PreemptionHook',
    'PredictionFileHook',
    'ProgressHook',
    'ReportHook',
    'ResultPlacesHook',
    'RunCardHook',
    'RuntimeInfoHook',
    'SharedLossesHook',
    'SpeedUpHook',
]

serve(__name__)
