"""Every name that changed between mmsegmentation and this one, said once.

RENAMED: what 0.x called it -> what it is called here (1.x names that differ are marked 1.x).
"""

RENAMED = {
    'img_norm_cfg, Normalize': 'model.data_preprocessor (mean, std, bgr_to_rgb)',
    'Pad(size=...)': 'model.data_preprocessor.size',
    'DefaultFormatBundle, Collect, ImageToTensor': 'PackSegInputs',
    'Resize(img_scale, ratio_range)': 'RandomResize(scale, ratio_range, keep_ratio)',
    'Resize(img_scale, keep_ratio)': 'Resize(scale, keep_ratio)',
    'MultiScaleFlipAug(img_scale, img_ratios, flip)': 'Resize(scale) and aug_test',
    'tta_pipeline, tta_model (1.x)': 'aug_test=dict(img_ratios, flip)',
    'data.samples_per_gpu': 'train_dataloader.batch_size',
    'data.workers_per_gpu': 'train_dataloader.num_workers',
    'data.train, data.val, data.test': '*_dataloader.dataset',
    'img_dir, ann_dir': 'data_prefix=dict(img_path, seg_map_path)',
    'split': 'ann_file',
    'lists of img_dir, ann_dir or split': 'ConcatDataset(datasets=[...])',
    'optimizer, optimizer_config': 'optim_wrapper',
    'lr_config': 'param_scheduler',
    'runner.max_iters, total_iters': 'train_cfg.max_iters',
    'evaluation.interval': 'train_cfg.val_interval',
    'evaluation.metric': 'val_evaluator.iou_metrics',
    'checkpoint_config': 'default_hooks.checkpoint',
    'log_config.interval': 'default_hooks.logger.interval',
    'TensorboardLoggerHook': 'vis_backends: TensorboardVisBackend',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'resume_from': 'load_from with resume=True',
    'train_cfg, test_cfg beside model (before 0.10)': 'model.train_cfg, model.test_cfg',
    "type='mmseg.X' (1.x)": "type='segkit.X' or type='X'",
}

# Keys of either generation that say nothing a run of ours needs.
OBSOLETE = {
    'dist_params', 'workflow', 'find_unused_parameters', 'opencv_num_threads', 'mp_start_method',
    'tta_model', 'tta_pipeline', 'img_ratios', 'img_norm_cfg', 'gpu_ids', 'auto_resume', 'device',
}  # fmt: skip
