"""What the keys of a config are for, and what their values may be: the tables of ``config_check``.

A role is the key under which a value stands ('backbone', 'pipeline', ...). The same word means the
same thing wherever it stands, which is what makes a config readable, and checkable: one table of
ranges serves all parts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RUNNER_KEYS = _words("""
    model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg
    test_cfg auto_scale_lr optim_wrapper param_scheduler val_evaluator test_evaluator
    default_hooks custom_hooks data_preprocessor load_from resume launcher env_cfg
    log_processor log_level visualizer default_scope randomness experiment_name compile
    channels_last freeze sync_bn find_unused_parameters model_wrapper_cfg activation_checkpointing
    efficient_conv_bn_eval custom_imports aug_test runner_type
""")
# Names that configs commonly give to parts of theirs; none is a slip for one of the above.
HELPER_KEYS = _words("""
    dataset_type data_root crop_size train_pipeline test_pipeline val_pipeline tta_pipeline
    tta_model img_ratios norm_cfg optimizer vis_backends num_classes max_iters dataset
    evaluator train_dataset val_dataset test_dataset checkpoint checkpoint_file data_config
""")
HOOK_NAMES = _words("""
    runtime_info timer sampler_seed logger param_scheduler checkpoint visualization
    shared_losses non_finite preemption run_card progress first_batches result_places
""")
DATALOADER_KEYS = _words("""
    dataset sampler batch_sampler collate_fn worker_init_fn num_batch_per_epoch
    disable_subprocess_warning
""")

# Name of a registry in segkit.registry -> the roles whose classes it has.
_ROLES = dict(
    MODELS='model backbone neck decode_head auxiliary_head data_preprocessor loss_decode',
    TASK_UTILS='pixel_sampler',
    DATASETS='dataset datasets',
    TRANSFORMS='pipeline transforms',
    LOOPS='train_cfg val_cfg test_cfg',
    PARAM_SCHEDULERS='param_scheduler',
    OPTIM_WRAPPERS='optim_wrapper',
    OPTIMIZERS='optimizer',
    METRICS='val_evaluator test_evaluator',
    HOOKS='hook custom_hooks',
    VISUALIZERS='visualizer',
    VISBACKENDS='vis_backends',
    LOG_PROCESSORS='log_processor',
    DATA_SAMPLERS='batch_sampler data_sampler',
)
REGISTRY_OF = {role: name for name, roles in _ROLES.items() for role in roles.split()}

# Role -> class meant when the dict has no type.
IMPLIED_TYPES = dict(optim_wrapper='OptimWrapper', log_processor='LogProcessor')

# Role -> keys of a dict without a type.
KEYS_OF: dict[str, frozenset[str]] = dict(
    env_cfg=_words('cudnn_benchmark mp_cfg dist_cfg resource_limit'),
    mp_cfg=_words('mp_start_method opencv_num_threads'),
    randomness=_words('seed diff_rank_seed deterministic'),
    auto_scale_lr=_words('enable base_batch_size'),
    aug_test=_words('img_ratios flip'),
    fold=_words('number of part seed group_by'),
    model_test_cfg=_words(
        'mode crop_size stride batch_windows memory_budget keep_logits keep_confidence '
        'keep_probabilities unknown_below aug_test'
    ),
    clip_grad=_words('type max_norm norm_type error_if_nonfinite foreach clip_value'),
)

# Roles whose dicts may grow keys with the code that reads them: only near misses are errors.
OPEN_ENDED = frozenset(['model_test_cfg', 'aug_test'])

# Type -> arguments that another library reads and judges.
FOREIGN_ARGUMENTS = {'Albu': ('transforms', 'keymap')}

# Roles whose dicts hold whatever their reader wants; judged by it alone.
FREE_FORM = _words("""
    metainfo data_prefix paramwise_cfg init_cfg dist_cfg compile custom_imports upsample_cfg
    label_map metadata model_wrapper_cfg activation_checkpointing efficient_conv_bn_eval
    init_kwargs collate_fn worker_init_fn custom_cfg preprocessor_test_cfg model_train_cfg
""")

# Role -> keys that the builder takes out before the class sees them.
TAKEN_BY_BUILDER = dict(
    hook={'priority'},
    custom_hooks={'priority'},
    optim_wrapper={'optimizer', 'constructor', 'paramwise_cfg'},
    param_scheduler={'convert_to_iter_based'},
    train_cfg={'by_epoch'},
)

# Roles of layers: whether one can be built is found by building it.
LAYERS = ('norm_cfg', 'act_cfg', 'conv_cfg')

_IN_MODEL = {
    'sampler': 'pixel_sampler',
    'train_cfg': 'model_train_cfg',
    'test_cfg': 'model_test_cfg',
}
_KNOWN_ROLES = frozenset({*REGISTRY_OF, *IMPLIED_TYPES, *KEYS_OF, *FREE_FORM, *LAYERS})


def averages_weights(hook: object) -> bool:
    """Whether an item of ``custom_hooks`` is mmengine's EMAHook."""
    return isinstance(hook, Mapping) and hook.get('type') in ('EMAHook', 'mmengine.EMAHook')


def role_of(parent: str, key: str) -> str:
    """What the value at ``key`` of a dict with the role ``parent`` is for; '' if unknown."""
    if key.endswith('_dataloader') and not parent:
        return 'dataloader'
    if parent == 'default_hooks':
        return 'hook'
    if parent == 'dataloader' and key == 'sampler':
        return 'data_sampler'
    if parent == 'data_preprocessor' and key == 'test_cfg':
        return 'preprocessor_test_cfg'
    if REGISTRY_OF.get(parent) == 'MODELS' and key in _IN_MODEL:
        return _IN_MODEL[key]
    if key == 'default_hooks' or key in _KNOWN_ROLES:
        return key
    return ''


# -- values ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``; one that is ``open`` is none of them itself."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    whole: bool = False
    apart: tuple[float, ...] = ()

    def holds(self, value: float) -> bool:
        if value in self.apart:
            return True
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and (not self.whole or float(value).is_integer())

    def __str__(self) -> str:
        kind = 'a whole number' if self.whole else 'a finite number'
        low, high = f'{self.low:g}', f'{self.high:g}'
        if abs(self.low) < _HUGE and self.high < _HUGE:
            kind += f' from {low} to {high}'
            kind += f', but not {low}' * self.low_open + f', but not {high}' * self.high_open
        elif abs(self.low) < _HUGE:
            kind += f' above {low}' if self.low_open else f', {low} or more'
        return kind + ''.join(f', or {x:g}' for x in self.apart)


_HUGE = 1e12  # more of anything than there is
_COUNT = Range(1, _HUGE, whole=True)
_FEW = Range(1, 2**16, whole=True)  # channels, pixels of a side, images of a batch
_ORDINAL = Range(0, _HUGE, whole=True)
_SHARE = Range(0, 1)
_POSITIVE = Range(0, _HUGE, low_open=True)
_NOT_NEGATIVE = Range(0, _HUGE)
_FINITE = Range(-_HUGE, _HUGE)
_BYTE = Range(0, 255, whole=True)

# Argument -> numbers that it, and each item of it where it is a list, may be.
RANGES: dict[str, Range] = {
    # networks
    'in_channels': _FEW, 'channels': _FEW, 'num_classes': _FEW, 'out_channels': _FEW,
    'stem_channels': _FEW, 'base_channels': _FEW, 'pam_channels': _FEW,
    'isa_channels': _FEW, 'num_convs': Range(0, 1024, whole=True), 'kernel_size': _FEW,
    'dilation': _FEW,
    'strides': _FEW, 'dilations': _FEW, 'num_stages': Range(1, 4, whole=True),
    'pool_scales': _FEW, 'mask_size': _FEW, 'shrink_factor': _FEW, 'down_factor': _FEW,
    'normalization_factor': _POSITIVE, 'dropout_ratio': Range(0, 1, high_open=True),
    'in_index': Range(-64, 64, whole=True), 'out_indices': Range(-64, 64, whole=True),
    'frozen_stages': Range(-1, 4, whole=True), 'multi_grid': _FEW,
    'loss_weight': _NOT_NEGATIVE, 'class_weight': _NOT_NEGATIVE, 'thresh': _SHARE,
    'min_kept': _ORDINAL, 'ignore_index': Range(-_HUGE, _HUGE, whole=True),
    # pictures
    'std': _POSITIVE, 'mean': _FINITE, 'pad_val': _FINITE, 'seg_pad_val': _BYTE,
    'size_divisor': _FEW, 'size': _FEW, 'crop_size': _FEW, 'stride': _FEW,
    'scale': Range(0, 2**16, low_open=True, apart=(math.inf,)),
    'ratio_range': Range(0, 100, low_open=True), 'img_ratios': Range(0, 100, low_open=True),
    'cat_max_ratio': Range(0, 1, low_open=True), 'prob': _SHARE, 'degree': _FINITE,
    'brightness_delta': _NOT_NEGATIVE, 'hue_delta': _NOT_NEGATIVE,
    'contrast_range': _NOT_NEGATIVE, 'saturation_range': _NOT_NEGATIVE, 'alpha': _SHARE,
    # data
    'batch_size': _FEW, 'num_workers': Range(0, 1024, whole=True), 'prefetch_factor': _FEW,
    'num_images': Range(1, 10**8, whole=True), 'times': _COUNT, 'max_refetch': _ORDINAL,
    'oversample_thr': Range(0, 1, low_open=True), 'base_batch_size': _COUNT,
    # optimisation
    'lr': _NOT_NEGATIVE, 'momentum': Range(0, 1), 'weight_decay': _NOT_NEGATIVE,
    'dampening': Range(0, 1), 'eps': _POSITIVE, 'betas': Range(0, 1, high_open=True),
    'max_norm': Range(0, math.inf, low_open=True), 'accumulative_counts': _FEW,
    'accumulate': _COUNT, 'eta_min': Range(0, 100), 'eta_min_ratio': _SHARE,
    'power': _POSITIVE, 'begin': _ORDINAL, 'end': _COUNT, 'gamma': _NOT_NEGATIVE,
    'milestones': _ORDINAL, 'T_max': _COUNT, 'step_size': _COUNT,
    'start_factor': Range(0, 1, low_open=True), 'end_factor': _SHARE,
    'lr_mult': _NOT_NEGATIVE, 'decay_mult': _NOT_NEGATIVE,
    # the run
    'max_iters': _COUNT, 'max_epochs': _COUNT, 'val_interval': _COUNT, 'val_begin': _ORDINAL,
    'interval': Range(1, _HUGE, whole=True, apart=(-1,)),
    'max_keep_ckpts': Range(-1, _HUGE, whole=True),
    'save_begin': _ORDINAL, 'seed': Range(0, 2**32 - 1, whole=True), 'batches': _ORDINAL,
    'opencv_num_threads': Range(0, 1024, whole=True), 'window_size': _COUNT, 'patience': _ORDINAL,
    'min_delta': _NOT_NEGATIVE, 'bootstrap': _ORDINAL, 'beta': _NOT_NEGATIVE, 'keep': _ORDINAL,
    'nan_to_num': _SHARE, 'wait_time': _NOT_NEGATIVE, 'batch_windows': _COUNT,
    'memory_budget': _POSITIVE,
}  # fmt: skip

CHOICES: dict[str, tuple[str, ...]] = {
    'style': ('pytorch', 'caffe'),
    'psa_type': ('collect', 'distribute', 'bi-direction'),
    'mp_start_method': ('fork', 'spawn', 'forkserver'),
    'log_level': ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'NOTSET'),
    'rule': ('greater', 'less'),
    'color_type': (
        'color', 'grayscale', 'unchanged', 'color_ignore_orientation',
        'grayscale_ignore_orientation',
    ),
    'iou_metrics': ('mIoU', 'mDice', 'mFscore'),
}  # fmt: skip
# Argument -> what it is, where no signature says so.
KINDS: dict[str, object] = {
    'work_dir': str | None, 'default_scope': str | None, 'load_from': str | None,
    'experiment_name': str | None, 'launcher': str, 'log_level': str | int,
    'opencv_num_threads': int, 'mp_start_method': str, 'cudnn_benchmark': bool,
    'seed': int | None, 'deterministic': bool, 'diff_rank_seed': bool, 'enable': bool,
    'base_batch_size': int, 'batch_size': int, 'in_index': int | Sequence[int],
    'in_channels': int | Sequence[int], 'requires_grad': bool, 'find_unused_parameters': bool,
    'img_ratios': Sequence[float], 'ratio_range': Sequence[float], 'lr': float,
    'weight_decay': float, 'keep_ratio': bool, 'shuffle': bool, 'test_mode': bool,
    'prob': float | Sequence[float] | None,
    'scale': int | float | Sequence[int] | Sequence[Sequence[int]] | Sequence[float] | None,
    'freeze': str | Sequence[str], 'max_norm': float, 'norm_type': float, 'mode': str,
}  # fmt: skip
# Pairs of numbers of which the first is the least.
ORDERED = frozenset(['ratio_range', 'contrast_range', 'saturation_range'])
