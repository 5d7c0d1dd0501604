"""The BioCLIP wing (Stevens, Wu et al.; CVPR 2024 best student paper, arXiv 2311.18803).

Importing this package loads nothing heavy; import the room that you need, for example
`from bestpapers.bioclip import data`.
"""
