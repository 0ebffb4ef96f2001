"""The table: what mmsegmentation called something, and what serves here.

SERVED   module here (below segkit, or of mmengine or mmcv) -> names it serves, as old=new where
         they differ
PLACES   module there -> names that are served in it; '' is the package. A place that is no module
         here is made one; at the others only the names that they lack are looked up
LACKING  modules there -> what to use instead -> names of classes, functions and modules below it
TYPES    registry -> names that a config may have as ``type``, besides those always registered
"""

_CLASSES = (
    'cityscapes_classes cityscapes_palette ade_classes ade_palette voc_classes voc_palette '
    'pcontext_classes pcontext_palette loveda_classes loveda_palette potsdam_classes '
    'potsdam_palette vaihingen_classes vaihingen_palette cocostuff_classes cocostuff_palette '
    'isaid_classes isaid_palette'
)
_AREAS = (
    'intersect_and_union total_intersect_and_union total_area_to_metrics mean_iou mean_dice '
    'mean_fscore eval_metrics pre_eval_to_metrics f_score'
)
_SHAPES = 'nchw_to_nlc nlc_to_nchw nlc2nchw2nlc nchw2nlc2nchw'
_TYPING = (
    'ConfigType OptConfigType MultiConfig OptMultiConfig SampleList OptSampleList TensorDict '
    'TensorList ForwardResults'
)
_TRAINING = 'set_random_seed init_random_seed train_segmentor'
_TESTING = 'single_gpu_test multi_gpu_test'
_SAMPLERS = 'build_pixel_sampler BasePixelSampler OHEMPixelSampler'
_STEPS = (
    'Compose LoadAnnotations LoadImageFromFile LoadImageFromNDArray PhotoMetricDistortion '
    'RandomCrop RandomFlip RandomRotate Resize Pad Normalize MultiScaleFlipAug to_tensor '
    'ImageToTensor ToTensor PackSegInputs'
)
_MORE_STEPS = (
    'Albu CLAHE AdjustGamma RandomCutOut RandomMosaic RandomRotFlip Rerange RGB2Gray GenerateEdge '
    'SegRescale ResizeShortestEdge ResizeToMultiple'
)
_MIX = 'MixFFN EfficientMultiheadAttention TransformerEncoderLayer'
_BUILDERS = 'build_dataset build_dataloader'
_FOCAL = 'sigmoid_focal_loss py_sigmoid_focal_loss'
_LOVASZ = (
    'flatten_binary_logits flatten_probs lovasz_grad lovasz_hinge lovasz_hinge_flat lovasz_softmax '
    'lovasz_softmax_flat'
)
_REGISTRIES = (
    'DATA_SAMPLERS EVALUATOR HOOKS INFERENCERS LOG_PROCESSORS LOOPS METRICS MODELS MODEL_WRAPPERS '
    'OPTIMIZERS OPTIM_WRAPPERS OPTIM_WRAPPER_CONSTRUCTORS PARAM_SCHEDULERS RUNNERS '
    'RUNNER_CONSTRUCTORS TASK_UTILS TRANSFORMS VISBACKENDS VISUALIZERS WEIGHT_INITIALIZERS'
)
_MULTI = 'MultiImageMixDataset'
_WEIGHTS = (  # where they stood in segkit 0.9
    'CheckpointError CheckpointNotFoundError DownloadError LoadReport Undrawn '
    'UnsafeCheckpointError apply_init_cfg build_undrawn dataset_meta_of inflate_stem initialise '
    'load_backbone_weights load_checkpoint load_into local_file read_verified state_dict_of '
    'to_our_names use_in_mmengine without_pretrained write_checkpoint write_safetensors'
)

SERVED = {
    'mmengine.utils': 'digit_version',
    'mmengine.runner': 'set_random_seed',
    'torch.utils.data': 'DistributedSampler',
    'mmcv.transforms': 'Normalize to_tensor ImageToTensor ToTensor RandomResize',
    'mmcv.cnn.bricks.transformer': 'PatchMerging AdaptivePadding',
    'familiar.versions': '__version__ version_info parse_version_info',
    'apis': 'init_model init_segmentor inference_model inference_segmentor',
    'familiar.inferencer': 'MMSegInferencer',
    'familiar.show_result_pyplot': 'show_result_pyplot',
    'familiar.running': (
        f'{_TESTING} _preprare_data init_random_seed train_segmentor get_root_logger '
        'setup_multi_processes check_dist_init '
        'find_latest_checkpoint sync_random_seed'
    ),
    'datasets': (
        'BaseSegDataset ADE20KDataset CityscapesDataset PascalVOCDataset PascalContextDataset '
        f'PascalContextDataset59 ConcatDataset RepeatDataset {_MULTI} COCOStuffDataset '
        'DarkZurichDataset ISPRSDataset LoveDADataset NightDrivingDataset PotsdamDataset '
        'iSAIDDataset'
    ),
    'datasets.transforms': (
        'Compose LoadAnnotations LoadImageFromFile LoadImageFromNDArray PhotoMetricDistortion '
        'RandomCrop RandomFlip RandomRotate Resize Pad MultiScaleFlipAug PackSegInputs '
        f'{_MORE_STEPS}'
    ),
    'familiar.datasets': f'CustomDataset {_BUILDERS}',
    'registry': (
        f'{_REGISTRIES} DATASETS PIPELINES=TRANSFORMS PIXEL_SAMPLERS=TASK_UTILS '
        'OPTIMIZER_BUILDERS=OPTIM_WRAPPER_CONSTRUCTORS '
        'OPTIMIZER_CONSTRUCTORS=OPTIM_WRAPPER_CONSTRUCTORS'
    ),
    'weights': _WEIGHTS,
    'visualization': 'SegVisualizationHook SegLocalVisualizer',
    'evaluation': 'IoUMetric',
    'familiar.metrics': 'CityscapesMetric',
    'familiar.scores': _AREAS,
    'models': 'build_segmentor build_backbone build_head build_loss build_neck BaseSegmentor',
    'models.builder': 'BACKBONES HEADS LOSSES NECKS SEGMENTORS MODELS ATTENTION=MODELS',
    'models.backbones': 'MixVisionTransformer',
    'models.backbones.resnet': 'ResLayer',
    'models.layers': 'resize',
    'models.losses': (
        'CrossEntropyLoss DiceLoss TverskyLoss FocalLoss LovaszLoss BoundaryLoss accuracy Accuracy'
    ),
    'models.losses.reduction': 'weight_reduce_loss',
    'models.losses.class_weight': 'get_class_weight=load_class_weight',
    'models.ohem_sampler': _SAMPLERS,
    'familiar.blocks': 'BasicBlock Bottleneck PatchEmbed',
    'familiar.bricks': (
        'Upsample SelfAttentionBlock PPM ASPPModule TIMMBackbone mask_cross_entropy '
        f'make_divisible {_SHAPES}'
    ),
    'structures': 'SegDataSample',
    'familiar.helpers': (
        f'get_classes get_palette add_prefix register_all_modules {_TYPING} '
        'ImageType InputType InputsType PredType'
    ),
    'familiar.loss_functions': (f'{_FOCAL} {_LOVASZ} dice_loss tversky_loss binary_tversky_loss'),
    'familiar.losses': 'reduce_loss weighted_loss _expand_onehot_labels',
    'familiar.mix_transformer': _MIX,
    'engine.env': 'collect_env',
    'familiar.names': f'{_CLASSES} dataset_aliases stack_batch datafrombytes',
}

PLACES = {
    '': 'digit_version version_info',
    'version': '__version__ version_info parse_version_info',
    'apis': f'MMSegInferencer show_result_pyplot {_TESTING} {_TRAINING} get_root_logger',
    'apis.inference': 'init_model init_segmentor show_result_pyplot',
    'apis.mmseg_inferencer': 'MMSegInferencer InputType InputsType PredType',
    'apis.test': _TESTING,
    'apis.train': f'{_TRAINING} get_root_logger',
    'apis.utils': '_preprare_data ImageType',
    'core': (
        f'{_AREAS} get_classes get_palette {_SAMPLERS} add_prefix sync_random_seed '
        'check_dist_init OPTIMIZER_BUILDERS'
    ),
    'core.builder': 'OPTIMIZER_BUILDERS OPTIMIZER_CONSTRUCTORS',
    'core.evaluation': f'{_AREAS} get_classes get_palette',
    'core.evaluation.class_names': f'{_CLASSES} dataset_aliases get_classes get_palette',
    'core.evaluation.metrics': _AREAS,
    'core.seg': _SAMPLERS,
    'core.seg.builder': 'build_pixel_sampler PIXEL_SAMPLERS',
    'core.seg.sampler': 'BasePixelSampler OHEMPixelSampler',
    'core.seg.sampler.base_pixel_sampler': 'BasePixelSampler',
    'core.seg.sampler.ohem_pixel_sampler': 'OHEMPixelSampler',
    'core.utils': 'add_prefix sync_random_seed check_dist_init',
    'core.utils.dist_util': 'sync_random_seed check_dist_init',
    'core.utils.misc': 'add_prefix',
    'datasets': (
        f'CustomDataset {_BUILDERS} DATASETS PIPELINES LoadImageFromNDArray Resize Pad '
        f'{_MORE_STEPS}'
    ),
    'datasets.ade': 'ADE20KDataset',
    'datasets.basesegdataset': 'BaseSegDataset',
    'datasets.builder': f'{_BUILDERS} DATASETS PIPELINES',
    'datasets.custom': 'CustomDataset DATASETS',
    'datasets.dark_zurich': 'DarkZurichDataset',
    'datasets.dataset_wrappers': f'{_MULTI} ConcatDataset RepeatDataset',
    'datasets.night_driving': 'NightDrivingDataset',
    'datasets.potsdam': 'PotsdamDataset',
    'datasets.pipelines': f'{_STEPS} {_MORE_STEPS}',
    'datasets.pipelines.compose': 'Compose',
    'datasets.pipelines.formatting': 'to_tensor ImageToTensor ToTensor PackSegInputs',
    'datasets.pipelines.loading': 'LoadAnnotations LoadImageFromFile LoadImageFromNDArray',
    'datasets.pipelines.test_time_aug': 'MultiScaleFlipAug',
    'datasets.pipelines.transforms': (
        'PhotoMetricDistortion RandomCrop RandomFlip RandomRotate Resize Pad Normalize '
        f'{_MORE_STEPS}'
    ),
    'datasets.samplers': 'DistributedSampler',
    'datasets.samplers.distributed_sampler': 'DistributedSampler',
    'datasets.transforms': 'RandomResize Normalize to_tensor ImageToTensor ToTensor',
    'datasets.transforms.formatting': 'to_tensor',
    'datasets.transforms.loading': 'LoadImageFromNDArray',
    'datasets.transforms.transforms': (
        f'PhotoMetricDistortion RandomCrop RandomFlip RandomRotate Resize Pad {_MORE_STEPS}'
    ),
    'datasets.voc': 'PascalVOCDataset',
    'engine': 'SegVisualizationHook',
    'engine.checkpoint': _WEIGHTS,
    'engine.hooks': 'SegVisualizationHook',
    'engine.hooks.visualization_hook': 'SegVisualizationHook',
    'evaluation': 'CityscapesMetric',
    'evaluation.metrics': 'IoUMetric CityscapesMetric',
    'evaluation.metrics.citys_metric': 'CityscapesMetric',
    'evaluation.metrics.iou_metric': 'IoUMetric',
    'models': 'TIMMBackbone Upsample SelfAttentionBlock resize accuracy Accuracy',
    'models.builder': 'MODELS ATTENTION',
    'models.backbones': 'TIMMBackbone',
    'models.backbones.mit': f'MixVisionTransformer {_MIX}',
    'models.backbones.timm_backbone': 'TIMMBackbone',
    'models.decode_heads.aspp_head': 'ASPPModule',
    'models.decode_heads.psp_head': 'PPM',
    'models.losses': 'mask_cross_entropy get_class_weight reduce_loss weighted_loss',
    'models.losses.cross_entropy_loss': 'mask_cross_entropy _expand_onehot_labels',
    'models.losses.dice_loss': 'DiceLoss dice_loss',
    'models.losses.focal_loss': _FOCAL,
    'models.losses.lovasz_loss': _LOVASZ,
    'models.losses.tversky_loss': 'TverskyLoss tversky_loss binary_tversky_loss',
    'models.losses.utils': 'weight_reduce_loss get_class_weight reduce_loss weighted_loss',
    'models.utils': (
        f'resize Upsample SelfAttentionBlock ResLayer BasicBlock Bottleneck PatchEmbed {_SHAPES} '
        'make_divisible'
    ),
    'models.utils.basic_block': 'BasicBlock Bottleneck',
    'models.utils.embed': 'PatchEmbed PatchMerging AdaptivePadding',
    'models.utils.make_divisible': 'make_divisible',
    'models.utils.res_layer': 'ResLayer',
    'models.utils.self_attention_block': 'SelfAttentionBlock',
    'models.utils.shape_convert': _SHAPES,
    'models.utils.wrappers': 'resize Upsample',
    'ops': 'resize Upsample',
    'ops.wrappers': 'resize Upsample',
    'registry.registry': f'{_REGISTRIES} DATASETS',
    'structures': _SAMPLERS,
    'structures.sampler': _SAMPLERS,
    'structures.sampler.base_pixel_sampler': 'BasePixelSampler',
    'structures.sampler.builder': 'build_pixel_sampler PIXEL_SAMPLERS',
    'structures.sampler.ohem_pixel_sampler': 'OHEMPixelSampler',
    'structures.seg_data_sample': 'SegDataSample',
    'utils': (
        f'get_classes get_palette add_prefix register_all_modules {_TYPING} {_CLASSES} '
        'dataset_aliases stack_batch collect_env get_root_logger datafrombytes '
        'setup_multi_processes find_latest_checkpoint'
    ),
    'utils.class_names': f'{_CLASSES} dataset_aliases get_classes get_palette',
    'utils.collect_env': 'collect_env',
    'utils.io': 'datafrombytes',
    'utils.logger': 'get_root_logger',
    'utils.misc': 'add_prefix stack_batch find_latest_checkpoint',
    'utils.set_env': 'register_all_modules setup_multi_processes',
    'utils.typing_utils': _TYPING,
}

_ANY_FOLDERS = (
    'Any pair of folders is a data set: BaseSegDataset with metainfo=dict(classes=..., '
    'palette=...), img_suffix, seg_map_suffix and, where 0 is no class, reduce_zero_label=True.'
)
_TIMM = (
    "Any timm model that gives feature maps is a backbone: dict(type='TimmBackbone', "
    "model_name='{}') (`pip install timm`); its channels are in the model's `channels`."
)
_OWN_HEAD = (
    'The heads that are here are listed by dir(segkit.models). Another one is a subclass of '
    'BaseDecodeHead with a forward(inputs) of its own, registered in MODELS.'
)
_VOLUMES = 'Pictures of two dimensions are read here; use MONAI for volumes.'

LACKING = {
    'apis': {
        'Cut the picture into tiles and give inference_model a generator of them, or set '
        "model.test_cfg to mode='slide'.": 'RSImage RSInferencer remote_sense_inferencer',
        'inference_model reads pictures, and segkit.evaluation.IoUMetric keeps no arrays.': (
            'LoadImage np2tmp'
        ),
    },
    'core': {
        "Validation runs by train_cfg=dict(val_interval=...) and val_cfg=dict(type='ValLoop').": (
            'EvalHook DistEvalHook eval_hooks'
        ),
        'The Runner builds it from optim_wrapper=dict(optimizer=...).': (
            'build_optimizer build_optimizer_constructor'
        ),
    },
    'datasets': {
        'MMSegInferencer and inference_model read what they are given.': 'InferencerLoader',
        'The Runner seeds each sample by its number (randomness=dict(seed=...)).': 'worker_init_fn',
        _ANY_FOLDERS: (
            'BDD100KDataset ChaseDB1Dataset DRIVEDataset DSDLSegDataset HRFDataset LIPDataset '
            'MapillaryDataset_v1 MapillaryDataset_v2 NYUDataset REFUGEDataset STAREDataset '
            'SynapseDataset bdd100k chase_db1 drive dsdl hrf lip mapillary nyu refuge stare '
            'synapse'
        ),
        'Stack both pictures in one array of six channels in a LoadImageFromFile of your own, '
        'and set in_channels=6 in the backbone.': (
            'BaseCDDataset LEVIRCDDataset levir LoadMultipleRSImageFromFile ConcatCDInput'
        ),
        _VOLUMES: (
            'DecathlonDataset decathlon BioMedical3DPad BioMedical3DRandomCrop '
            'BioMedical3DRandomFlip BioMedicalGaussianBlur BioMedicalGaussianNoise '
            'BioMedicalRandomGamma LoadBiomedicalAnnotation LoadBiomedicalData '
            'LoadBiomedicalImageFromFile'
        ),
        "LoadImageFromFile(imdecode_backend='tifffile') reads such pictures.": (
            'LoadSingleRSImageFromFile'
        ),
        'Depth maps are read by a transform of your own into results, named in '
        "results['seg_fields'] so that they move with the picture.": (
            'LoadDepthAnnotation RandomDepthMix'
        ),
        'RandomResize(scale=..., ratio_range=...) is here.': 'ResizeStepScaling',
        'PackSegInputs takes its place; the data preprocessor of the model normalises and pads.': (
            'Collect DefaultFormatBundle ToDataContainer Transpose'
        ),
    },
    'models ops': {
        'Its layer is part of EncNet, which is not here; take PSPHead.': 'Encoding encoding'
    },
    'engine core': {
        'Rates that fall by layer are asked for in a config: optim_wrapper=dict(constructor='
        "'LearningRateDecayOptimizerConstructor', paramwise_cfg=dict(decay_rate=0.9)); rates of "
        "single ones by paramwise_cfg=dict(custom_keys={'backbone.layer1': dict(lr_mult=0.1)}).": (
            'LearningRateDecayOptimizerConstructor LayerDecayOptimizerConstructor '
            'ForceDefaultOptimWrapperConstructor optimizers layer_decay_optimizer_constructor '
            'force_default_constructor get_layer_id_for_convnext get_stage_id_for_convnext '
            'get_layer_id_for_vit'
        ),
        'PolyLR(eta_min=..., power=...) is the schedule here.': 'PolyLRRatio schedulers',
    },
    'evaluation': {
        'A metric of yours is a mmengine.evaluator.BaseMetric, registered in METRICS.': (
            'DepthMetric depth_metric'
        )
    },
    'models': {
        'dice_loss(pred, one_hot, naive_dice=...) and DiceLoss are the forms of 1.x.': (
            'binary_dice_loss'
        ),
        'torch.nn.KLDivLoss in a loss of yours takes its place.': 'KLDivLoss kldiv_loss',
        'segkit.models.decode_heads.sep_aspp_head has blocks of its own.': (
            'DepthwiseSeparableASPPModule'
        ),
        'Its blocks are those of another transformer; segkit.models.backbones.mit has those of the '
        'Mix Transformer.': 'TransformerEncoderLayer',
        _TIMM.format('resnext50_32x4d'): 'ResNeXt resnext ResNeSt resnest',
        _TIMM.format('hrnet_w18'): 'HRNet hrnet',
        _TIMM.format('mobilenetv2_100'): 'MobileNetV2 MobileNetV3 mobilenet_v2 mobilenet_v3',
        _TIMM.format('swin_tiny_patch4_window7_224'): 'SwinTransformer swin',
        _TIMM.format('pvt_v2_b2'): 'PCPVT SVT twins MSCAN mscan',
        _TIMM.format('convnext_tiny'): (
            'BEiT beit MAE mae VisionTransformer vit VPD vpd BiSeNetV1 bisenetv1 BiSeNetV2 '
            'bisenetv2 CGNet cgnet DDRNet ddrnet ERFNet erfnet FastSCNN fast_scnn ICNet icnet '
            'PIDNet pidnet STDCNet STDCContextPathNet stdc'
        ),
        'A backbone is any nn.Module that gives a tuple of maps: register one of '
        'segmentation_models_pytorch or of your own in MODELS.': (
            'UNet unet BasicConvBlock DeconvModule InterpConv UpConvBlock up_conv_block'
        ),
        _OWN_HEAD: (
            'ANNHead ann_head APCHead apc_head CCHead cc_head '
            'DDRHead ddr_head DMHead dm_head DNLHead dnl_head DPTHead dpt_head EMAHead ema_head '
            'EncHead enc_head FPNHead fpn_head GCHead gc_head LightHamHead ham_head '
            'IterativeDecodeHead KernelUpdateHead KernelUpdator knet_head LRASPPHead lraspp_head '
            'Mask2FormerHead mask2former_head MaskFormerHead maskformer_head NLHead nl_head '
            'OCRHead ocr_head PIDHead pid_head PointHead point_head SideAdapterCLIPHead san_head '
            'SegmenterMaskTransformerHead segmenter_mask_head '
            'DepthwiseSeparableFCNHead sep_fcn_head '
            'SETRMLAHead setr_mla_head SETRUPHead setr_up_head STDCHead stdc_head '
            'VPDDepthHead vpd_depth_head'
        ),
        'A head that refines another one takes its place in a subclass of EncoderDecoder whose '
        '_init_decode_head builds both.': (
            'BaseCascadeDecodeHead cascade_decode_head CascadeEncoderDecoder '
            'cascade_encoder_decoder'
        ),
        'Several scales and flips are tested by aug_test=dict(img_ratios=[...], flip=True) in the '
        'config and `segkit test --tta`; tta_model and tta_pipeline are left out.': (
            'SegTTAModel seg_tta'
        ),
        'Segmentors here predict classes; one of your own is a subclass of BaseSegmentor.': (
            'DepthEstimator depth_estimator MultimodalEncoderDecoder multimodal_encoder_decoder '
            'CLIPTextEncoder text_encoder assigners HungarianAssigner'
        ),
        'A loss is any nn.Module whose forward takes (pred, label, weight=None, '
        'ignore_index=255) and that has a loss_name: wrap the one of '
        'segmentation_models_pytorch.losses and register it in MODELS.': (
            'HuasdorffDisstanceLoss huasdorff_distance_loss SiLogLoss silog_loss'
        ),
        "CrossEntropyLoss with the head's sampler=dict(type='OHEMPixelSampler', thresh=0.7, "
        'min_kept=100000) trains the same pixels.': ('OhemCrossEntropy ohem_cross_entropy_loss'),
        'A neck is any nn.Module from maps to maps: '
        'torchvision.ops.FeaturePyramidNetwork in a class of yours, or with mmdet installed '
        "dict(type='mmdet.FPN', ...).": (
            'FPN fpn Feature2Pyramid featurepyramid ICNeck ic_neck JPU jpu MLANeck mla_neck '
            'MultiLevelNeck multilevel_neck necks'
        ),
        'timm.layers and torchvision.ops.misc have it.': (
            'InvertedResidual InvertedResidualV3 inverted_residual SELayer se_layer DAPPM PAPPM '
            'ppm get_uncertain_point_coords_with_randomness point_sample san_layers MLP '
            'LayerNorm2d cross_attn_layer'
        ),
    },
    'utils core.evaluation': {
        'Give the classes and the palette in the metainfo of a BaseSegDataset.': (
            'bdd100k_classes bdd100k_palette stare_classes stare_palette synapse_classes '
            'synapse_palette lip_classes lip_palette mapillary_v1_classes mapillary_v1_palette '
            'mapillary_v2_classes mapillary_v2_palette'
        )
    },
    'utils': {
        'open_clip.get_tokenizer (`pip install open_clip_torch`) makes tokens of words.': (
            'tokenizer tokenize get_predefined_templates get_templates'
        ),
        'Masks of instances are no part of it.': (
            'MatchMasks seg_data_to_instance_data mask_classification'
        ),
    },
}

TYPES = {
    'DATASETS': 'CustomDataset',
    'MODELS': 'TIMMBackbone',
    'METRICS': 'CityscapesMetric',
}
