"""Ellipses to pixels, blended from near to far."""
