"""Train the wing's small models again: python -m bestpapers.splatting.weights"""

from . import train

train()
