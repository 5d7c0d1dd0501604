"""Models and weights so small that making all of them takes seconds."""

from bestpapers.feedback import generator, model, panel, weights
from bestpapers.feedback.train import Recipe, TrainConfig
from bestpapers.feedback.worlds import WORDS

STEPS = TrainConfig(steps=2, batch=4, warmup=0)
MODEL = model.Config(
    size=32, width=16, heads=2, image_layers=1, fusion_layers=1, decoder_layers=1, longest=12, maps=(8, 8, 8), scores=(8, 4),
    vocabulary=WORDS,
)  # fmt: skip
GENERATOR = generator.Config(
    size=32, codes=16, code=4, hidden=16, width=16, heads=2, layers=1, longest=12, vocabulary=WORDS
)
PANEL = panel.Panel(radius=1 / 13)
RECIPE = Recipe(
    GENERATOR, MODEL, PANEL, pairs=8, faults=6, drawn=2, calls=2, kept=(0.25, 0.5, 1.0), tokenizer=STEPS,
    transformer=TrainConfig(steps=4, batch=4, warmup=0), flow=STEPS, rahf=STEPS,
)  # fmt: skip
AGAIN = dict(pictures=6, prompts=3, steps=2)


def make_weights(folder):
    """All of them, in folder / "out", with checkpoints beside it."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    weights.make(RECIPE, folder / "checkpoints", out, dict(again=AGAIN), quiet=True)
    return out
