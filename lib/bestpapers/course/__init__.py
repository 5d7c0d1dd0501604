"""What makes it a course: claims, checks, presets, plots, downloads, widgets. Knows nothing of any paper's maths.

Importing this package loads nothing heavy; import the room that you need, for example
`from bestpapers.course import claims, plots, presets`.
"""

WINGS = ("splatting", "bioclip", "dynamics", "feedback")
