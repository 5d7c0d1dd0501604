"""The constants of Gaussian rasterisation, in one place for all three backends.

Where the Mip-Splatting paper, its authors' code and gsplat differ, we follow gsplat's main branch, so that a scene trained
there renders the same here. The other values are given beside ours.
"""

TILE = 16  # pixels per side of a tile; official code and gsplat: 16

ALPHA_MIN = 1.0 / 255.0  # a contribution below this is skipped: it could not change an 8-bit pixel
ALPHA_MAX = 0.99  # no Gaussian is fully opaque, so light never becomes exactly 0; gsplat 1.5.3: 0.999
TRANSMITTANCE_MIN = 1e-4  # a pixel is finished before the Gaussian that would leave T (1 - alpha) <= this

NEAR_PLANE = 0.01  # scene units; a Gaussian is culled unless near < z < far. Official code: z > 0.2
FAR_PLANE = 1e10

# The projection is linearised at the Gaussian's centre, but no farther outside the view than this share of the
# half-width tan(fov/2): far outside, the linear map would blow the ellipse up. (Affects the covariance, not the centre.)
VIEW_MARGIN = 0.3

DET_MIN = 1e-10  # px^4: floor of det S' before it divides; official code drops Gaussians with det <= 1e-6 instead
RHO_MIN = 0.005  # floor of the opacity compensation rho = sqrt(det S / det S'); gsplat 1.5.3: 0; official code: 0.001

EXTENT_SIGMA = 3.33  # reported radii are this many standard deviations: there an opaque Gaussian has faded to 1/255

LENGTH_MIN = 1e-12  # floor of a quaternion's or direction's length, as in torch's normalize: a zero one makes no NaN
