"""A CLIP model of a few thousand weights, in the layout of the real ones."""

import torch

CONFIG = dict(
    model_cfg=dict(
        embed_dim=16,
        vision_cfg=dict(image_size=32, layers=1, width=16, head_width=8, patch_size=16),
        text_cfg=dict(context_length=77, vocab_size=49408, width=8, heads=2, layers=1),
    ),
    preprocess_cfg={},
)


def tiny_clip(seed=0, config=CONFIG):
    """Random weights that tell images and texts apart."""
    import open_clip

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**config["model_cfg"]).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return model
