"""Train the wing's small models again: python -m bestpapers.splatting.weights"""

from . import train

if __name__ == "__main__":  # and not in the processes that training starts
    train()
