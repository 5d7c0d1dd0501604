"""Four Gaussians before one camera, with figures computed independently of this library (float64)."""

import torch

from bestpapers.splatting.data import Camera
from bestpapers.splatting.model import C0, GaussianConfig, Gaussians

F64 = torch.float64
MEANS = torch.tensor([[0, 0, 2], [0.3, -0.2, 2.5], [1.9, 0.1, 2], [0.02, 0.01, 4]], dtype=F64)
QUATS = torch.tensor([[1, 0, 0, 0], [0.9, 0.1, -0.3, 0.2], [0.5, 0.5, -0.5, 0.5], [1, 0, 0, 0]], dtype=F64)
SCALES = torch.tensor([[0.05] * 3, [0.10, 0.02, 0.05], [0.05, 0.20, 0.01], [0.004] * 3], dtype=F64)
OPACITIES = torch.tensor([0.8, 0.6, 0.9, 0.95], dtype=F64)
COLORS = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=F64)
CAMERA = Camera(torch.eye(4).numpy(), [[100, 0, 64], [0, 100, 48], [0, 0, 1]], 128, 96)

PHI = torch.tensor([0.008944272, 0.011180340, 0.008944272, 0.017888544], dtype=F64)
COEF = torch.tensor([0.953850813, 0.846560847, 0.732976478, 0.010391328], dtype=F64)
SUM_ALPHA = {  # over all pixels, at 128 x 96 and at 32 x 24
    "3dgs": (45.487929, 6.463144),
    "ewa": (41.292311, 2.571427),
    "mip": (40.541594, 2.522533),
}


def model(method: str, dtype: torch.dtype = F64) -> Gaussians:
    """The four as a model, its 3D filter computed from the camera."""
    parameters = dict(
        means=MEANS, log_scales=SCALES.log(), quats=QUATS, opacity_logits=torch.logit(OPACITIES),
        sh_dc=((COLORS - 0.5) / C0)[:, None], sh_rest=torch.zeros(4, 0, 3),
    )  # fmt: skip
    cloud = Gaussians({k: v.to(dtype) for k, v in parameters.items()}, GaussianConfig(method))
    cloud.update_filter([CAMERA])
    return cloud
