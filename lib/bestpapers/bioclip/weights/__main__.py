"""Train the wing's small model again: python -m bestpapers.bioclip.weights"""

from . import train

train()
