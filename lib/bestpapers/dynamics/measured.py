"""What `1_idea` and `3_reproduce` need measured on held-out plants, a row a plant: recorded runs `plants` and `shipped`.

The arm of a row is the kind, its seed n the number of the held-out plant: "plants/tree/3"; always clip number 0 of it, 160 x 256,
150 frames. A score that has a claim's name is what that claim's rule asks for; the others stand beside it. Where a PSNR is of
frames, these are every fifth, squared errors averaged over all pixels asked for, in all of them. What a plant has not (modes
that stand apart, thin parts) is left out of its row.

**plants**, without weights. Measured flow is DIS on twice the size, from frame 0 to each frame.

    epe.<m>.<where>          M1, px, all frames. m: zero, dis, dis2x, farneback; where: plant, background, edges (within 2 px of
                             a place where neighbours move differently by 0.5 px, root mean square over time)
    epe.<l>.<where>          dis2x on frames of half the size; l: direct, chained, best
    C14.choice               psnr_flow.<better> - psnr_flow.<other>, see `settle`; also psnr_flow.exact. Softmax splatting; moving
                             pixels: where the plant was in the picture or is in the frame
    kept.<K>, exact.<K>      share of energy, constant aside, K = 4, 8, 16, 24: of measured and exact flow. C1.kept is kept.16
    r2.<range>.<law>         low, wide; exponential, power. Over pixels that move by 0.2 px. C2.low and C2.wide: the difference
    C7.weight                splat.softmax - splat.average, dB, at moving edges; also splat.backward
    loop.<way>.<what>        of the measured motion's 16 slices; way: naive, detrended, cross-faded, projected; what: wrap, near
                             (within five frames of it), closure (E), kept, and grey: wrap of grey frames, as C10.seamless has it
    C11.first, C11.others    MAC over a body's own pixels, the mean over bodies by pixels: a field is many plants, and each has its
                             first mode. close: modes below 3 Hz with another of the body within two bins. whole: the slowest
                             mode of the scene over all that moves. exact.first, exact.others, exact.close: from exact flow
    C11.shape, C11.timing    means over eight points, see `pulls`; own.shape: over the pulled body's own pixels
    C16.fast, C16.thin       see `stiff`, `widths`

**shipped**, with the shipped animator and renderer.

    C10.closure.fall         1/2 less the share of E that guidance leaves (same noise, 50 calls, 2 recurrences); .kept: energy less
                             0.8. closure.before, closure.after, closure.kept
    C10.seamless             wrap ratio of grey frames of the guided loop, painted by the renderer; seamless.naive: unguided
    C11.still                mean over eight draws and eight points; still.timing; still.own
    paint.<method>.<where>   PSNR, dB, true motion: backward, average, softmax, network; all, edges, holes, rest
    C15.frames               flicker of the renderer on pairs of frames; flicker.softmax
    C16.large                large.1 - large.4, dB, moving pixels
    C16.unseen               paint.network.shown - paint.network.holes; unseen.moving: of moving pixels only

A row also holds `modes`: hertz, distance to the body's next mode in Hz, height in px, share of pixels, MAC.
"""

from __future__ import annotations
