"""Images and networks for the tests of search spaces."""

import torch
from torch import nn


def noise(config, seed=0, count=6):
    """Return random images (count, image_channels, S, S) of a network's size."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, config.image_channels, config.image_size, config.image_size, generator=generator)


def unlike_initial(network):
    """Return a network whose batch norms differ from their initial values: affine weights and statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
    return network


def seeded_supernet(space, config, affine=False, seed=0):
    """Return a supernet in which every number differs from its initial value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return unlike_initial(space.supernet(config, affine=affine))
