"""A model that was never trained, small, whose motion is far from nothing."""

import torch

from bestpapers.dynamics.model import Animator, Config
from bestpapers.dynamics.spectral import Normalizer

TINY = Config(48, 64, slices=4, down=8, codec=16, base=16, heads=2)


def animator(objective="noise", config=TINY):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Animator(config, objective=objective)
        torch.nn.init.normal_(model.codec.leave[-1].weight, std=0.5)  # it begins by saying that all is still
        torch.nn.init.normal_(model.codec.guide.weights.weight, std=0.3)
    model.normalizer = Normalizer(torch.full((config.slices, 2), 12.0))
    return model.eval().requires_grad_(False)
