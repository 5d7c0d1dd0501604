"""python -m bestpapers.dynamics.clips [--verify]: see the package."""

import argparse
import sys

from ...lab.files import FormatError
from ...lab.weights import Card
from . import HERE, make


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bestpapers.dynamics.clips", description="The book's own clip.")
    parser.add_argument("--verify", action="store_true", help="make nothing; say whether the file is that of its card")
    try:
        card = Card.read(HERE) if parser.parse_args().verify else make()
        card.verify(HERE)
    except (FormatError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(*(f"{name}: {said['bytes']:,} bytes, {card.scores['psnr']:.1f} dB" for name, said in card.files.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
