"""What the keys of a config are for: the vocabulary of ``config_check``.

A role is the key under which a value stands ('backbone', 'pipeline', ...). The same word means the
same thing wherever it stands, which is what makes a config readable, and checkable.
"""

from collections.abc import Callable, Mapping
from types import ModuleType


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RUNNER_KEYS = _words("""
    model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg
    test_cfg auto_scale_lr optim_wrapper param_scheduler val_evaluator test_evaluator
    default_hooks custom_hooks data_preprocessor load_from resume launcher env_cfg
    log_processor log_level visualizer default_scope randomness experiment_name compile
    channels_last sync_bn find_unused_parameters model_wrapper_cfg activation_checkpointing
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

# Role -> name of its registry in segkit.registry.
REGISTRY_OF = dict(
    model='MODELS',
    backbone='MODELS',
    neck='MODELS',
    decode_head='MODELS',
    auxiliary_head='MODELS',
    data_preprocessor='MODELS',
    loss_decode='MODELS',
    pixel_sampler='TASK_UTILS',
    dataset='DATASETS',
    datasets='DATASETS',
    pipeline='TRANSFORMS',
    transforms='TRANSFORMS',
    train_cfg='LOOPS',
    val_cfg='LOOPS',
    test_cfg='LOOPS',
    param_scheduler='PARAM_SCHEDULERS',
    optim_wrapper='OPTIM_WRAPPERS',
    optimizer='OPTIMIZERS',
    val_evaluator='METRICS',
    test_evaluator='METRICS',
    hook='HOOKS',
    custom_hooks='HOOKS',
    visualizer='VISUALIZERS',
    vis_backends='VISBACKENDS',
    log_processor='LOG_PROCESSORS',
    batch_sampler='DATA_SAMPLERS',
    data_sampler='DATA_SAMPLERS',
)

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

# Role -> a function that builds such a layer, and so tells whether it can be built.
LAYER_BUILDERS: dict[str, Callable[[dict[str, object]], object]] = dict(
    norm_cfg=lambda cfg: _layers().build_norm(cfg, cfg.get('num_groups', 1)),
    act_cfg=lambda cfg: _layers().build_activation(cfg),
    conv_cfg=lambda cfg: _layers().build_conv(cfg, 1, 1, 1),
)


def _layers() -> ModuleType:
    """On use: reading a config needs no torch."""
    from segkit.models import layers

    return layers


_IN_MODEL = {
    'sampler': 'pixel_sampler',
    'train_cfg': 'model_train_cfg',
    'test_cfg': 'model_test_cfg',
}
_KNOWN_ROLES = frozenset({*REGISTRY_OF, *IMPLIED_TYPES, *KEYS_OF, *FREE_FORM, *LAYER_BUILDERS})


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
