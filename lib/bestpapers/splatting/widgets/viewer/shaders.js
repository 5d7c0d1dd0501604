// The shaders: project a Gaussian, blend it, and copy the finished picture. They follow kernels.rasterize, constants included.

import * as RULES from "../../../kernels/rasterize/rules.py";

// A number as the shaders' language wants a float.
const float = (x) => (Number.isInteger(x) ? x.toFixed(1) : String(x));

// Texels of a Gaussian: (mean, opacity), (scales, 0), quaternion, then (r, g, b, 0) for each spherical harmonic.
export const HEAD = 3;
export const ROW = 2048; // width of the texture that holds the order

export const VERTEX = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;

// One Gaussian, drawn as the rectangle of pixels that it reaches: two triangles. This runs for each of their six corners.

uniform sampler2D gaussians;
uniform highp usampler2D order;  // far to near
uniform int degree;       // of the spherical harmonics
uniform mat3 R;           // world to camera: x right, y down, z forward
uniform vec3 t;
uniform vec2 focal;       // px
uniform vec2 centre;      // px, the principal point
uniform vec2 size;        // px, of the picture
uniform float eps2d;      // px^2, variance of the 2D filter
uniform bool compensate;  // keep the light when the filter widens a Gaussian?

flat out vec2 mean2d;     // px
flat out vec3 conic;      // xx, xy, yy of the inverse covariance, px^-2
flat out vec3 colour;
flat out float opacity;

const float NEAR = ${float(RULES.NEAR_PLANE)}, FAR = ${float(RULES.FAR_PLANE)};  // scene units
const float MARGIN = ${float(RULES.VIEW_MARGIN)};   // of the half view: J is taken no farther outside
const float DET_MIN = ${float(RULES.DET_MIN)};  // px^4
const float RHO_MIN = ${float(RULES.RHO_MIN)};
const float ALPHA_MIN = ${float(RULES.ALPHA_MIN)};  // what is fainter is skipped

int index;  // which Gaussian

vec4 texel(int k) {
  int width = textureSize(gaussians, 0).x;
  int at = index * (${HEAD} + (degree + 1) * (degree + 1)) + k;
  return texelFetch(gaussians, ivec2(at % width, at / width), 0);
}

mat3 rotation(vec4 quaternion) {
  vec4 q = quaternion / max(length(quaternion), ${float(RULES.LENGTH_MIN)});
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(  // by columns
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

vec3 sh(int k) { return texel(${HEAD} + k).rgb; }

// The colour seen in direction v: real spherical harmonics, in the order and with the signs of 3D Gaussian Splatting.
vec3 seenFrom(vec3 v) {
  float x = v.x, y = v.y, z = v.z, xx = x * x, yy = y * y, zz = z * z;
  vec3 sum = 0.5 + 0.28209479 * sh(0);
  if (degree > 0) sum += 0.48860251 * (-y * sh(1) + z * sh(2) - x * sh(3));
  if (degree > 1) {
    sum += 1.09254843 * (x * y * sh(4) - y * z * sh(5) - x * z * sh(7))
      + 0.31539157 * (2.0 * zz - xx - yy) * sh(6) + 0.54627422 * (xx - yy) * sh(8);
  }
  if (degree > 2) {
    sum += -0.59004359 * (y * (3.0 * xx - yy) * sh(9) + x * (xx - 3.0 * yy) * sh(15))
      + 2.89061144 * x * y * z * sh(10) + 1.44530572 * z * (xx - yy) * sh(14)
      - 0.45704580 * (4.0 * zz - xx - yy) * (y * sh(11) + x * sh(13))
      + 0.37317633 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy) * sh(12);
  }
  return max(sum, 0.0);
}

void main() {
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);  // outside the picture, where Gaussians stay that are not seen
  int place = gl_VertexID / 6, corner = gl_VertexID % 6;
  index = int(texelFetch(order, ivec2(place % ${ROW}, place / ${ROW}), 0).r);
  vec3 mean = texel(0).xyz;
  vec3 p = R * mean + t;
  if (!(p.z > NEAR && p.z < FAR)) return;

  // 1. Where is it? The centre follows the perspective map.
  mean2d = focal * p.xy / p.z + centre;

  // 2. How wide? EWA splatting: near the centre the perspective map is linear, J = d(mean2d) / dp. Far outside the view
  //    this would blow the ellipse up, so J is taken at a centre pulled back to the view's margin.
  //    With half = J R Rq diag(s) the projected covariance is S = half half^T. half_x and half_y are the rows of half.
  vec2 margin = MARGIN * 0.5 * size / focal;
  vec2 slope = clamp(p.xy / p.z, -centre / focal - margin, (size - centre) / focal + margin);
  vec3 s = texel(1).xyz;
  mat3 axes = R * rotation(texel(2));  // columns: the directions of the ellipsoid's axes, seen by the camera
  mat3 rows = transpose(mat3(s.x * axes[0], s.y * axes[1], s.z * axes[2]));
  vec3 half_x = focal.x / p.z * (rows[0] - slope.x * rows[2]);
  vec3 half_y = focal.y / p.z * (rows[1] - slope.y * rows[2]);
  float xx = dot(half_x, half_x), xy = dot(half_x, half_y), yy = dot(half_y, half_y);

  // 3. The 2D filter: S' = S + eps2d I, wider by a Gaussian of variance eps2d. Its height must fall by
  //    rho = sqrt(det S / det S') if its light is to stay what it was: EWA and Mip-Splatting do that, 3DGS does not.
  //    det S = |half_x x half_y|^2 and det S' = det S + eps2d trace S + eps2d^2 need no difference of large numbers.
  vec3 area = cross(half_x, half_y);
  float det_sharp = dot(area, area);
  float det = max(det_sharp + eps2d * (xx + yy) + eps2d * eps2d, DET_MIN);
  xx += eps2d;
  yy += eps2d;
  conic = vec3(yy, -xy, xx) / det;
  opacity = texel(0).w;
  if (compensate) opacity *= max(sqrt(det_sharp / det), RHO_MIN);
  if (opacity < ALPHA_MIN) return;

  colour = seenFrom(normalize(mean + transpose(R) * t));

  // The rectangle: outside it the Gaussian has faded below ALPHA_MIN. Half a pixel more covers rounding.
  vec2 reach = sqrt(2.0 * log(opacity / ALPHA_MIN) * vec2(xx, yy)) + 0.5;
  if (corner > 2) corner -= 2;  // triangles 0 1 2 and 1 2 3
  vec2 side = 2.0 * vec2(corner & 1, corner >> 1) - 1.0;
  vec2 at = clamp(mean2d + side * reach, vec2(-1.0), size + 1.0);
  gl_Position = vec4(2.0 * at / size - 1.0, 0.0, 1.0);  // row 0 of the target is the top of the picture
}`;

export const FRAGMENT = `#version 300 es
precision highp float;

flat in vec2 mean2d;
flat in vec3 conic;
flat in vec3 colour;
flat in float opacity;
out vec4 light;

void main() {
  vec2 d = gl_FragCoord.xy - mean2d;  // centres of pixels lie at i + 0.5 in both
  float sigma = 0.5 * (conic.x * d.x * d.x + conic.z * d.y * d.y) + conic.y * d.x * d.y;
  float alpha = min(opacity * exp(-sigma), ${float(RULES.ALPHA_MAX)});
  if (sigma < 0.0 || alpha < ${float(RULES.ALPHA_MIN)}) discard;
  light = vec4(alpha * colour, alpha);  // blended over what lies behind: light + (1 - alpha) behind
}`;

// The finished picture, rounded to 8 bits: one triangle that covers it.
export const WHOLE = `#version 300 es
void main() { gl_Position = vec4(4 * (gl_VertexID & 1) - 1, 2 * (gl_VertexID & 2) - 1, 0.0, 1.0); }`;
export const COPY = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D picture;
out vec4 pixel;
void main() { pixel = vec4(texelFetch(picture, ivec2(gl_FragCoord.xy), 0).rgb, 1.0); }`;
