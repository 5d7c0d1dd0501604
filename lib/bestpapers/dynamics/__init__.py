"""The Generative Image Dynamics wing (Li, Tucker, Snavely, Holynski; CVPR 2024 best paper, arXiv 2309.07906).

Importing this package loads nothing heavy; import the room that you need, for example
`from bestpapers.dynamics import spectral`.
"""
