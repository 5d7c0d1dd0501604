"""Which Gaussians each tile draws, nearest first. Only the fast forms ask: to the definition of compositing there are no tiles.

The image is cut into 16 x 16 tiles, and each tile gets the list of Gaussians whose ellipse alpha = 1/255 reaches the rectangle
of its pixel centres, computed exactly. What a tile skips, the definition would have skipped too.

The names of gsplat for the same things: a (Gaussian, tile) pair is an *intersection*; counting and dealing out is
`isect_tiles`, whose `tiles_per_gauss` counts each Gaussian's pairs; `owner` is `flatten_ids`, `start` is `isect_offsets`. A
`slot` has no name there: gsplat's backward pass adds up by atomics, ours writes each pair's part into its slot and then sums.
"""
