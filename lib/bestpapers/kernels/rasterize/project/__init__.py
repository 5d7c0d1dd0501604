"""3D Gaussians to 2D ellipses: means2d, depths, conics, compensations and radii."""
