"""The four Gaussians of 2_build before one camera, which several checkers use: red, green, blue and yellow.

Red stands on the axis, green is turned, blue lies outside the view, yellow is a tenth of a pixel wide. All float64.
"""

import torch

F64 = torch.float64
WIDTH, HEIGHT = 128, 96
K = torch.tensor([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]], dtype=F64)
MEANS = torch.tensor([[0, 0, 2], [0.3, -0.2, 2.5], [1.9, 0.1, 2], [0.02, 0.01, 4]], dtype=F64)
QUATS = torch.tensor([[1, 0, 0, 0], [0.9, 0.1, -0.3, 0.2], [0.5, 0.5, -0.5, 0.5], [1, 0, 0, 0]], dtype=F64)
SCALES = torch.tensor([[0.05] * 3, [0.10, 0.02, 0.05], [0.05, 0.20, 0.01], [0.004] * 3], dtype=F64)
OPACITIES = torch.tensor([0.8, 0.6, 0.9, 0.95], dtype=F64)
