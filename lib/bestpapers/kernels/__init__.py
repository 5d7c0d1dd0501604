"""Ops with three backends each (torch reference, Numba, Triton); they know nothing of any paper."""
