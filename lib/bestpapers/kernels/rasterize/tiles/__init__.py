"""Which Gaussians each tile draws, nearest first. Only the fast forms ask: to the definition of compositing there are no tiles.

The image is cut into 16 x 16 tiles, and each tile gets the list of Gaussians whose ellipse alpha = 1/255 reaches the rectangle
of its pixel centres, computed exactly. What a tile skips, the definition would have skipped too.
"""
