"""Spherical harmonics: the colour of a Gaussian seen from a direction."""
