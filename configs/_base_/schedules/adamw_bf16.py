"""AdamW in mixed precision: bfloat16 where it is safe, gradients of a step clipped to length 1."""

_base_ = './adamw.py'

optim_wrapper = dict(
    type='AmpOptimWrapper', dtype='bf16', clip_grad=dict(_delete_=True, max_norm=1.0, norm_type=2))
