"""What makes it a course: claims, checks, presets, plots, downloads, widgets. Knows nothing of any paper's maths."""
