"""The wing of Rich Human Feedback for Text-to-Image Generation (Liang, He, Li et al.; CVPR 2024 best paper, arXiv 2312.10240).

Importing this package loads nothing heavy; import the room that you need, for example
`from bestpapers.feedback import worlds`.
"""
