"""Parts of low rank beside frozen weights."""

import torch
from torch import nn

from bestpapers.lab.lora import adapt, settle
from bestpapers.lab.nn import Block

WIDTH, HEADS, RANK = 8, 2, 3


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(WIDTH, HEADS, ratio=2.0) for _ in range(2)])
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def tower():
    torch.manual_seed(0)
    return Tower()


def learning(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def test_it_starts_as_nothing_and_only_the_parts_learn():
    plain, x = tower(), torch.randn(2, 5, WIDTH)
    model = tower()
    adapt(model, model.blocks, RANK)
    torch.testing.assert_close(model(x), plain(x))
    parts = learning(model)
    # per block: queries, keys and values together, what joins the heads, and the MLP's two
    shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (2 * WIDTH, WIDTH), (WIDTH, 2 * WIDTH)]
    assert sum(p.numel() for p in parts.values()) == 2 * sum(RANK * (rows + columns) for rows, columns in shapes)
    assert all("parametrizations" in name and name.endswith((".up", ".down")) for name in parts)
    model(x).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for name, p in parts.items() if name.endswith(".up"))
    assert all(p.grad.abs().sum() == 0 for name, p in parts.items() if name.endswith(".down"))  # while `up` is zero


def test_draws_are_its_own():
    """The same parts for a seed, of about unit gain, and the global stream of random numbers is left alone."""
    torch.manual_seed(5)
    after = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (tower() for _ in range(3))
    torch.manual_seed(5)
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        adapt(model, model.blocks, RANK, seed)
    assert torch.equal(torch.rand(1), after)
    first = learning(one)
    assert all(torch.equal(p, learning(same)[name]) for name, p in first.items())
    down = [name for name in first if name.endswith("down")]
    assert not any(torch.equal(first[name], learning(other)[name]) for name in down)
    for name in down:
        assert 0.5 < first[name].std() * first[name].shape[1] ** 0.5 < 1.6


def test_what_was_learned_settles_into_a_plain_model():
    model, x = tower(), torch.randn(2, 5, WIDTH)
    adapt(model, model.blocks, RANK)
    with torch.no_grad():
        for p in learning(model).values():
            p.add_(0.1 * torch.randn_like(p))
    settled = settle(model.eval(), tower())
    torch.testing.assert_close(settled(x), model(x))
    assert (settled(x) - tower()(x)).abs().max() > 0.01
    assert not settled.training
    assert len(learning(settled)) == len(list(tower().parameters()))  # an ordinary model again: all of it can learn
