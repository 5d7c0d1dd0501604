"""The Mip-Splatting wing (Yu, Chen, Huang, Sattler, Geiger; CVPR 2024 best student paper, arXiv 2311.16493).

Importing this package loads nothing heavy; import the room that you need, for example
`from bestpapers.splatting import data`.
"""
