"""Wing `feedback`: Rich Human Feedback for Text-to-Image Generation (RAHF; Liang, He, Li et al., CVPR 2024)."""
