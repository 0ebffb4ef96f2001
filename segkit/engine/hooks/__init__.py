"""What happens around the iterations: logging, saving, stopping."""

from segkit.old_names import serve

from .certainty import CertaintyHook
from .checkpoint import CheckpointHook
from .early_stopping import EarlyStoppingHook
from .first_batches import FirstBatchesHook
from .guards import NonFiniteLossHook
from .logger import LoggerHook
from .predictions import PredictionFileHook
from .preemption import PreemptionHook
from .progress import ProgressHook
from .report import ReportHook
from .result_places import ResultPlacesHook
from .run_card import RunCardHook
from .runtime_info import RuntimeInfoHook
from .speed_up import SpeedUpHook

__all__ = [
    'CertaintyHook',
    'CheckpointHook',
    'EarlyStoppingHook',
    'FirstBatchesHook',
    'LoggerHook',
    'NonFiniteLossHook',
    'PreemptionHook',
    'PredictionFileHook',
    'ProgressHook',
    'ReportHook',
    'ResultPlacesHook',
    'RunCardHook',
    'RuntimeInfoHook',
    'SpeedUpHook',
]

serve(__name__)
