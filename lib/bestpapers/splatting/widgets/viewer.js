// Gaussian clouds side by side under one camera, each through the filters of its method. See viewer.py for the traits.
//
// Four steps: read a file (parsePly, parseSplat), apply the 3D smoothing filter (smooth3D), sort from far to near
// (depthOrder, in a worker), project and blend (the shaders). Each does what bestpapers.kernels.rasterize does, and tests
// compare the pictures. Nothing moves by itself, so there is no motion to reduce.
//
// A cloud of N Gaussians is { count, degree, means [N, 3], scales [N, 3], quats [N, 4] (w, x, y, z), opacities [N],
// sh [N, (degree + 1)^2, 3], phi [N] or null }: after the activations, lengths in scene units.
// A camera is { R [9] and t [3], world to camera with x right, y down, z forward, R by rows; fx, fy, cx, cy, width, height
// in pixels }. A method is { eps2d, compensate, smooth_3d }, as in bestpapers.splatting.filters.

const C0 = 0.5 / Math.sqrt(Math.PI); // the constant spherical harmonic: colour = 0.5 + C0 * coefficient
const LIMIT = 2_000_000; // Gaussians in a file; about what the memory of a laptop's graphics chip holds
const LARGEST = 1e15; // of any number in a file: a shader can still square it

// ------------------------------------------------------------------------------------------------------------ files

const TYPES = {
  char: "Int8", uchar: "Uint8", short: "Int16", ushort: "Uint16", int: "Int32", uint: "Uint32", float: "Float32",
  double: "Float64", int8: "Int8", uint8: "Uint8", int16: "Int16", uint16: "Uint16", int32: "Int32", uint32: "Uint32",
  float32: "Float32", float64: "Float64",
};

const viewOf = (data) => new DataView(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
const numbered = (name, n) => Array.from({ length: n }, (_, i) => `${name}_${i}`);

function newCloud(count, degree, phi) {
  const floats = (n) => new Float32Array(count * n);
  const sh = floats((degree + 1) ** 2 * 3);
  return { count, degree, means: floats(3), scales: floats(3), quats: floats(4), opacities: floats(1), sh, phi };
}

function checkCount(count) {
  if (count < 1) throw new Error("it holds no Gaussian");
  if (count > LIMIT) throw new Error(`it holds ${count} Gaussians; this viewer shows up to ${LIMIT}`);
}

// The header of a PLY file: { count, stride, start, columns: name -> [byte offset, DataView's getter] } of its vertices.
function plyHeader(view) {
  const head = new Uint8Array(view.buffer, view.byteOffset, Math.min(view.byteLength, 20_000));
  const text = new TextDecoder("latin1").decode(head); // a character for each byte
  if (!/^ply\r?\n/.test(text)) throw new Error('it is no PLY file: it does not begin with "ply"');
  const end = /\nend_header\r?\n/.exec(text);
  if (!end) throw new Error("its header has no end_header: the file is cut off, or no PLY file");
  const lines = text.slice(0, end.index).split(/\r?\n/).map((line) => line.trim().split(/\s+/));
  const format = lines.find(([word]) => word === "format")?.[1];
  if (format !== "binary_little_endian") {
    throw new Error(`its format is ${format}; save it as binary_little_endian, as 3DGS programs do`);
  }
  const elements = lines.filter(([word]) => word === "element");
  const [, name, digits] = elements[0] ?? [];
  if (name !== "vertex") throw new Error(`its first element is ${name}, not vertex: it is no 3DGS file, or a compressed one`);
  const count = /^\d+$/.test(digits) ? Number(digits) : NaN;
  if (Number.isNaN(count)) throw new Error(`its header says "element vertex ${digits}", which is no number of Gaussians`);
  checkCount(count);

  const columns = new Map();
  let stride = 0;
  let inVertex = false;
  for (const [word, type, property] of lines) {
    if (word === "element") inVertex = type === "vertex";
    if (word !== "property" || !inVertex) continue;
    if (!TYPES[type]) throw new Error(`its vertices have a property of type ${type}; only plain numbers can be read`);
    columns.set(property, [stride, `get${TYPES[type]}`]);
    stride += Number(/\d+/.exec(TYPES[type])[0]) / 8;
  }
  const start = end.index + end[0].length;
  const [want, found] = [count * stride, view.byteLength - start];
  if (found < want) {
    throw new Error(`its header announces ${count} Gaussians of ${stride} bytes, ${want} in all, but only ${found} follow`);
  }
  return { count, stride, start, columns };
}

// A cloud from the PLY file that 3DGS programs write, with or without normals, f_rest and Mip-Splatting's filter_3D.
export function parsePly(data) {
  const view = viewOf(data);
  const { count, stride, start, columns } = plyHeader(view);
  const rest = [...columns.keys()].filter((name) => name.startsWith("f_rest_")).length;
  const degree = [0, 9, 24, 45].indexOf(rest);
  if (degree < 0) throw new Error(`it has ${rest} properties f_rest; spherical harmonics of degree 0 to 3 have 0, 9, 24 or 45`);

  // one column after the other into array, f applied to each value
  function fill(array, names, f = (x) => x) {
    names.forEach((name, k) => {
      if (!columns.has(name)) throw new Error(`its vertices have no property ${name}: it is no file of 3D Gaussians`);
      const [offset, get] = columns.get(name);
      for (let i = 0; i < count; i++) {
        const value = view[get](start + i * stride + offset, true);
        const kept = f(value);
        if (!(Math.abs(value) <= LARGEST && Math.abs(kept) <= LARGEST)) throw new Error(`Gaussian ${i}: ${name} is ${value}`);
        array[i * names.length + k] = kept;
      }
    });
    return array;
  }

  const size = (x) => (x >= 0 ? x : NaN);
  const phi = columns.has("filter_3D") ? fill(new Float32Array(count), ["filter_3D"], size) : null;
  const cloud = newCloud(count, degree, phi);
  fill(cloud.means, ["x", "y", "z"]);
  fill(cloud.scales, numbered("scale", 3), Math.exp);
  fill(cloud.quats, numbered("rot", 4));
  fill(cloud.opacities, ["opacity"], (a) => 1 / (1 + Math.exp(-a)));
  // f_rest holds all of red, then green, then blue; ours are (r, g, b) for each harmonic
  const names = numbered("f_rest", rest);
  const ordered = names.map((_, i) => names[(i % 3) * (rest / 3) + Math.floor(i / 3)]);
  fill(cloud.sh, [...numbered("f_dc", 3), ...ordered]);
  checkTurns(cloud);
  return withoutZeros(cloud);
}

function checkTurns({ quats, count }) {
  for (let i = 0; i < count; i++) {
    if (!quats.subarray(4 * i, 4 * i + 4).some((q) => q !== 0)) throw new Error(`Gaussian ${i}: its quaternion is 0`);
  }
}

// Many files have room for degree 3 and zeros in it: what is zero for all Gaussians need not be drawn.
function withoutZeros(cloud) {
  const each = 3 * (cloud.degree + 1) ** 2;
  let last = 0; // the last coefficient that some Gaussian has
  cloud.sh.forEach((value, i) => (last = value && i % each > last ? i % each : last));
  const degree = Math.ceil(Math.sqrt(Math.floor(last / 3) + 1)) - 1;
  if (degree === cloud.degree) return cloud;
  return { ...cloud, degree, sh: cloud.sh.filter((_, i) => i % each < 3 * (degree + 1) ** 2) };
}

// A cloud from a .splat file: 32 bytes for each Gaussian, 3 + 3 floats (mean, scales) and 4 + 4 bytes (colour and opacity,
// quaternion). One colour from all sides, and no filter_3D.
export function parseSplat(data) {
  const view = viewOf(data);
  if (view.byteLength % 32) throw new Error(`it has ${view.byteLength} bytes; a .splat file has 32 for each Gaussian`);
  const count = view.byteLength / 32;
  checkCount(count);
  const cloud = newCloud(count, 0, null);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < 3; k++) {
      cloud.means[3 * i + k] = view.getFloat32(32 * i + 4 * k, true);
      cloud.scales[3 * i + k] = view.getFloat32(32 * i + 12 + 4 * k, true);
      cloud.sh[3 * i + k] = (view.getUint8(32 * i + 24 + k) / 255 - 0.5) / C0;
      const [place, size] = [cloud.means[3 * i + k], cloud.scales[3 * i + k]];
      if (!(Math.abs(place) <= LARGEST && size > 0 && size <= LARGEST)) {
        throw new Error(`Gaussian ${i}: place ${place}, size ${size}: it is no .splat file, or a damaged one`);
      }
    }
    cloud.opacities[i] = view.getUint8(32 * i + 27) / 255;
    for (let k = 0; k < 4; k++) cloud.quats[4 * i + k] = (view.getUint8(32 * i + 28 + k) - 128) / 128;
  }
  checkTurns(cloud);
  return cloud;
}

// A file by its name; without one, what begins with "ply" is a PLY file and everything else a .splat file.
export function parseFile(data, name = "") {
  const kind = /\.(\w+)$/.exec(name)?.[1].toLowerCase();
  if (name && kind !== "ply" && kind !== "splat") throw new Error("the viewer reads .ply and .splat files");
  const view = viewOf(data);
  const ply = view.byteLength > 3 && view.getUint32(0) >>> 8 === 0x706c79;
  return (kind ? kind === "ply" : ply) ? parsePly(data) : parseSplat(data);
}

// Mip-Splatting's 3D smoothing filter (Eq. 9): every Gaussian is convolved with a round one of standard deviation phi, and
// grows fainter as it grows larger. s' = sqrt(s^2 + phi^2), o' = o s1 s2 s3 / (s1' s2' s3').
export function smooth3D(cloud) {
  if (!cloud.phi) return cloud;
  const scales = cloud.scales.map((s, i) => Math.hypot(s, cloud.phi[Math.floor(i / 3)]));
  const shrink = (i) => (scales[i] > 0 ? cloud.scales[i] / scales[i] : 1);
  const opacities = cloud.opacities.map((o, i) => o * shrink(3 * i) * shrink(3 * i + 1) * shrink(3 * i + 2));
  return { ...cloud, scales, opacities };
}

// ---------------------------------------------------------------------------------------------------------- sorting

// Indices of the Gaussians before the camera, from far to near; of equal depths the later one counts as farther, as in the
// library. means [N, 3]; z = row[0] x + row[1] y + row[2] z + row[3] is the depth. The bits of positive floats sort like
// whole numbers, so two passes of a counting sort over 16 bits each are exact. Stands alone: a worker runs its text.
export function depthOrder(means, row) {
  const n = means.length / 3;
  const z = new Float32Array(n);
  let order = new Uint32Array(n);
  let count = 0;
  for (let i = n - 1; i >= 0; i--) {
    z[i] = row[0] * means[3 * i] + row[1] * means[3 * i + 1] + row[2] * means[3 * i + 2] + row[3];
    if (z[i] > 0.01 && z[i] < 1e10) order[count++] = i; // near and far plane
  }
  const bits = new Uint32Array(z.buffer);
  let other = new Uint32Array(count);
  order = order.subarray(0, count);
  for (const shift of [0, 16]) {
    const start = new Uint32Array(65537);
    for (const i of order) start[65535 - ((bits[i] >>> shift) & 65535) + 1]++;
    for (let k = 1; k <= 65536; k++) start[k] += start[k - 1];
    for (const i of order) other[start[65535 - ((bits[i] >>> shift) & 65535)]++] = i;
    [order, other] = [other, order];
  }
  return order.slice();
}

// Sorts the means of some clouds in a worker. Where a page's policy forbids one, the page's own thread does it.
class Sorter {
  constructor(all) {
    this.all = all;
    this.waiting = new Map(); // number of a request -> function that takes its order
    this.requests = 0;
    const program = `const order = ${depthOrder};
      let all;
      onmessage = ({ data }) => {
        if (data.all) all = data.all;
        else {
          const found = order(all[data.which], data.row);
          postMessage({ request: data.request, found }, [found.buffer]);
        }
      };`;
    const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    try {
      this.worker = new Worker(address);
      this.worker.onmessage = ({ data }) => this.answer(data.request, data.found);
      this.worker.onerror = () => this.giveUp();
      this.worker.postMessage({ all });
    } catch {
      this.giveUp();
    }
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
  order(which, row) {
    if (!this.worker) return Promise.resolve(depthOrder(this.all[which], row));
    return new Promise((resolve) => {
      const request = this.requests++;
      this.waiting.set(request, { which, row, resolve });
      this.worker.postMessage({ which, row, request });
    });
  }
  answer(request, found) {
    this.waiting.get(request)?.resolve(found);
    this.waiting.delete(request);
  }
  giveUp() {
    this.worker = null;
    for (const [request, { which, row }] of this.waiting) this.answer(request, depthOrder(this.all[which], row));
  }
  stop() {
    this.worker?.terminate();
    for (const { resolve } of this.waiting.values()) resolve(null);
  }
}

// ------------------------------------------------------------------------------------------------------- projection

// Texels of a Gaussian: (mean, opacity), (scales, 0), quaternion, then (r, g, b, 0) for each spherical harmonic.
const HEAD = 3;
const ROW = 2048; // width of the texture that holds the order

const VERTEX = `#version 300 es
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

const float NEAR = 0.01, FAR = 1e10;  // scene units
const float MARGIN = 0.3;             // of the half view: J is taken no farther outside
const float DET_MIN = 1e-10;          // px^4
const float RHO_MIN = 0.005;

int index;  // which Gaussian

vec4 texel(int k) {
  int width = textureSize(gaussians, 0).x;
  int at = index * (${HEAD} + (degree + 1) * (degree + 1)) + k;
  return texelFetch(gaussians, ivec2(at % width, at / width), 0);
}

mat3 rotation(vec4 quaternion) {
  vec4 q = quaternion / max(length(quaternion), 1e-12);
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
  if (opacity < 1.0 / 255.0) return;

  colour = seenFrom(normalize(mean + transpose(R) * t));

  // The rectangle: outside it the Gaussian has faded below 1/255. Half a pixel more covers rounding.
  vec2 reach = sqrt(2.0 * log(255.0 * opacity) * vec2(xx, yy)) + 0.5;
  if (corner > 2) corner -= 2;  // triangles 0 1 2 and 1 2 3
  vec2 side = 2.0 * vec2(corner & 1, corner >> 1) - 1.0;
  vec2 at = clamp(mean2d + side * reach, vec2(-1.0), size + 1.0);
  gl_Position = vec4(2.0 * at / size - 1.0, 0.0, 1.0);  // row 0 of the target is the top of the picture
}`;

const FRAGMENT = `#version 300 es
precision highp float;

flat in vec2 mean2d;
flat in vec3 conic;
flat in vec3 colour;
flat in float opacity;
out vec4 light;

void main() {
  vec2 d = gl_FragCoord.xy - mean2d;  // centres of pixels lie at i + 0.5 in both
  float sigma = 0.5 * (conic.x * d.x * d.x + conic.z * d.y * d.y) + conic.y * d.x * d.y;
  float alpha = min(opacity * exp(-sigma), 0.99);
  if (sigma < 0.0 || alpha < 1.0 / 255.0) discard;
  light = vec4(alpha * colour, alpha);  // blended over what lies behind: light + (1 - alpha) behind
}`;

// The finished picture, rounded to 8 bits: one triangle that covers it.
const WHOLE = `#version 300 es
void main() { gl_Position = vec4(4 * (gl_VertexID & 1) - 1, 2 * (gl_VertexID & 2) - 1, 0.0, 1.0); }`;
const COPY = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D picture;
out vec4 pixel;
void main() { pixel = vec4(texelFetch(picture, ivec2(gl_FragCoord.xy), 0).rgb, 1.0); }`;

// Draws clouds with WebGL2 and reads the pictures back, which are small. Blending happens in 16-bit floats where that is
// possible: 8 bits lose what faint Gaussians add. Reading waits for the graphics chip without holding up the page.
class Painter {
  constructor(canvas, floats = true) {
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false });
    if (!gl) throw new Error("it is drawn with WebGL2, which this browser does not offer or has switched off");
    this.gl = gl;
    this.floats = floats && gl.getExtension("EXT_color_buffer_float") !== null;
    this.textures = new Map(); // cloud -> its texture
    this.splats = this.link(VERTEX, FRAGMENT);
    this.copy = this.link(WHOLE, COPY);
    this.blended = { frame: gl.createFramebuffer(), format: this.floats ? gl.RGBA16F : gl.RGBA8 };
    this.rounded = { frame: gl.createFramebuffer(), format: gl.RGBA8 };
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.activeTexture(gl.TEXTURE1);
    this.nearest(gl.createTexture()); // the order, always at 1
    gl.activeTexture(gl.TEXTURE0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, gl.createBuffer());
    this.size = [0, 0];
  }

  link(...sources) {
    const { gl } = this;
    const program = gl.createProgram();
    const shaders = [gl.createShader(gl.VERTEX_SHADER), gl.createShader(gl.FRAGMENT_SHADER)];
    shaders.forEach((shader, i) => {
      gl.shaderSource(shader, sources[i]);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    });
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      const logs = [...shaders.map((shader) => gl.getShaderInfoLog(shader)), gl.getProgramInfoLog(program)];
      throw new Error(`the graphics driver refuses the shaders: ${logs.join(" ")}`);
    }
    return program;
  }

  nearest(texture) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return texture;
  }

  texture(format, width, height, data) {
    const { gl } = this;
    const texture = this.nearest(gl.createTexture());
    gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
    if (data) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, gl.RGBA, gl.FLOAT, data);
    return texture;
  }

  // The order fills whole rows of a texture.
  sequence(order) {
    const { gl } = this;
    const rows = Math.max(1, Math.ceil(order.length / ROW));
    const data = new Uint32Array(ROW * rows);
    data.set(order);
    gl.activeTexture(gl.TEXTURE1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32UI, ROW, rows, 0, gl.RED_INTEGER, gl.UNSIGNED_INT, data);
    gl.activeTexture(gl.TEXTURE0);
  }

  upload(cloud) {
    const { gl } = this;
    const [terms, widest] = [(cloud.degree + 1) ** 2, gl.getParameter(gl.MAX_TEXTURE_SIZE)];
    const texels = cloud.count * (HEAD + terms);
    const width = Math.min(texels, widest);
    const height = Math.ceil(texels / width);
    if (height > widest) throw new Error(`its ${cloud.count} Gaussians do not fit into a texture of this graphics chip`);
    const data = new Float32Array(4 * width * height);
    for (let i = 0, at = 0; i < cloud.count; i++, at += 4 * (HEAD + terms)) {
      data.set(cloud.means.subarray(3 * i, 3 * i + 3), at);
      data[at + 3] = cloud.opacities[i];
      data.set(cloud.scales.subarray(3 * i, 3 * i + 3), at + 4);
      data.set(cloud.quats.subarray(4 * i, 4 * i + 4), at + 8);
      for (let k = 0; k < terms; k++) {
        const from = 3 * (i * terms + k);
        data.set(cloud.sh.subarray(from, from + 3), at + 4 * (HEAD + k));
      }
    }
    this.textures.set(cloud, this.texture(gl.RGBA32F, width, height, data));
  }

  // Upload these clouds, then forget all others.
  hold(clouds) {
    for (const cloud of clouds) if (!this.textures.has(cloud)) this.upload(cloud);
    if (this.gl.getError() === this.gl.OUT_OF_MEMORY) throw new Error("it does not fit into the graphics memory");
    for (const [cloud, texture] of this.textures) {
      if (clouds.includes(cloud)) continue;
      this.gl.deleteTexture(texture);
      this.textures.delete(cloud);
    }
  }

  aim(width, height) {
    const { gl } = this;
    if (this.size[0] === width && this.size[1] === height) return;
    this.size = [width, height];
    for (const target of [this.blended, this.rounded]) {
      gl.deleteTexture(target.texture);
      target.texture = this.texture(target.format, width, height);
      gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, target.texture, 0);
    }
    gl.viewport(0, 0, width, height);
  }

  // cloud: with its 3D filter applied; order: from depthOrder
  draw({ cloud, method, order, background }, camera) {
    const { gl } = this;
    if (!this.textures.has(cloud)) this.upload(cloud);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.blended.frame);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.splats);
    const at = (name) => gl.getUniformLocation(this.splats, name);
    gl.uniform1i(at("degree"), cloud.degree);
    gl.uniformMatrix3fv(at("R"), true, camera.R);
    gl.uniform3fv(at("t"), camera.t);
    gl.uniform2f(at("focal"), camera.fx, camera.fy);
    gl.uniform2f(at("centre"), camera.cx, camera.cy);
    gl.uniform2f(at("size"), camera.width, camera.height);
    gl.uniform1f(at("eps2d"), method.eps2d);
    gl.uniform1i(at("compensate"), method.compensate);
    gl.bindTexture(gl.TEXTURE_2D, this.textures.get(cloud));
    gl.uniform1i(at("order"), 1);
    this.sequence(order);
    gl.enable(gl.BLEND);
    gl.drawArrays(gl.TRIANGLES, 0, 6 * order.length);

    gl.bindFramebuffer(gl.FRAMEBUFFER, this.rounded.frame);
    gl.disable(gl.BLEND);
    gl.useProgram(this.copy);
    gl.bindTexture(gl.TEXTURE_2D, this.blended.texture);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  // Draw each of `shown` from one camera: an ImageData for each, or null when the graphics chip has been taken away.
  async paint(shown, camera) {
    const { gl } = this;
    const { width, height } = camera;
    const bytes = 4 * width * height;
    this.aim(width, height);
    gl.bufferData(gl.PIXEL_PACK_BUFFER, bytes * shown.length, gl.STREAM_READ);
    shown.forEach((one, i) => {
      this.draw(one, camera);
      gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, i * bytes);
    });
    const done = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    while (gl.clientWaitSync(done, 0, 0) === gl.TIMEOUT_EXPIRED) await new Promise((resolve) => setTimeout(resolve));
    gl.deleteSync(done);
    if (gl.isContextLost()) return null;
    return shown.map((_, i) => {
      const pixels = new Uint8ClampedArray(bytes);
      gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, i * bytes, pixels);
      return new ImageData(pixels, width, height);
    });
  }
}

const depthRow = ({ R, t }) => [R[6], R[7], R[8], t[2]];

// One picture of a cloud, without worker and controls: ImageData, [height, width, 4] bytes from the top row down. For tests.
export async function renderOnce(canvas, cloud, method, camera, { background = [0, 0, 0], floats = true } = {}) {
  const order = depthOrder(cloud.means, depthRow(camera));
  const shown = { cloud: method.smooth_3d ? smooth3D(cloud) : cloud, method, order, background };
  const [picture] = await new Painter(canvas, floats).paint([shown], camera);
  return picture;
}

// ----------------------------------------------------------------------------------------------------------- camera

const [LEAST, MOST] = [1 / 8, 8]; // zoom
const between = (low, x, high) => Math.min(high, Math.max(low, x));
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => a.map((x) => x / Math.hypot(...a));
const minus = (a, b) => a.map((x, i) => x - b[i]);
const columns = (M) => [0, 1, 2].map((k) => [M[k], M[3 + k], M[6 + k]]);

// v turned about a unit axis by an angle in degrees (Rodrigues)
function turn(v, axis, degrees) {
  const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const [w, along] = [cross(axis, v), (1 - c) * dot(axis, v)];
  return v.map((x, i) => c * x + s * w[i] + along * axis[i]);
}

// The start camera carried around the target: up by `pitch` degrees, then to the right about `up` by `yaw` degrees; zoom
// multiplies its focal length; the picture is `size` pixels wide. The same as Viewer.view in viewer.py.
export function orbit(start, target, up, { yaw, pitch, zoom, size }) {
  const eye = columns(start.R).map((row) => -dot(row, start.t));
  const offset = minus(eye, target);
  const [pole, right] = [unit(up), unit(cross(up, offset))];
  const carry = (v) => turn(turn(v, right, -pitch), pole, yaw);
  const R = [0, 3, 6].flatMap((k) => carry(start.R.slice(k, k + 3))); // its rows are the camera's axes in the world
  const at = carry(offset).map((x, i) => x + target[i]);
  const t = [0, 3, 6].map((k) => -dot(R.slice(k, k + 3), at));
  const height = Math.max(1, Math.round((start.height * size) / start.width));
  const [across, down] = [size / start.width, height / start.height];
  const [fx, fy] = [start.fx * across * zoom, start.fy * down * zoom];
  return { R, t, fx, fy, cx: start.cx * across, cy: start.cy * down, width: size, height };
}

// A camera and target for a cloud of unknown place and size: as they are if the camera sees half of the centres or more,
// otherwise moved and grown together until the middle of the cloud fills the view.
function aimAt({ means, count }, start, target) {
  const step = Math.ceil(count / 10_000);
  const some = Array.from({ length: Math.floor(count / step) }, (_, i) => means.subarray(3 * i * step, 3 * i * step + 3));
  const seen = some.filter((mean) => {
    const [x, y, z] = [0, 1, 2].map((k) => dot(start.R.slice(3 * k, 3 * k + 3), mean) + start.t[k]);
    const [u, v] = [(start.fx * x) / z + start.cx, (start.fy * y) / z + start.cy];
    return z > 0 && u > 0 && u < start.width && v > 0 && v < start.height;
  });
  if (2 * seen.length >= some.length) return { start, target, moved: false };
  const quantile = (values, q) => values.sort((a, b) => a - b)[Math.floor(q * (values.length - 1))];
  const middle = [0, 1, 2].map((k) => quantile(some.map((mean) => mean[k]), 0.5));
  const radius = quantile(some.map((mean) => Math.hypot(...minus(mean, middle))), 0.8);
  const offset = minus(columns(start.R).map((row) => -dot(row, start.t)), target);
  const grow = Math.max((1.2 * radius * 2 * start.fx) / start.width, 0.1) / Math.hypot(...offset);
  const eye = offset.map((x, i) => grow * x + middle[i]);
  const t = [0, 3, 6].map((k) => -dot(start.R.slice(k, k + 3), eye));
  return { start: { ...start, t }, target: middle, moved: true };
}

// ------------------------------------------------------------------------------------------------------------- page

const STYLE = `
.bp-viewer { font: inherit; color: inherit; max-width: 100%; }
.bp-viewer .bp-panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(6.5em, 1fr)); gap: 0.75em;
  padding: 3px; border-radius: 4px; }
.bp-viewer .bp-panels:focus-visible { outline: 3px solid #0072B2; }
.bp-viewer.bp-over .bp-panels { outline: 3px dashed #0072B2; }
.bp-viewer figure { display: grid; grid-row: span 3; grid-template-rows: subgrid; row-gap: 0; max-width: 24em; margin: 0; }
.bp-viewer figcaption { align-self: end; font: inherit; font-weight: 600; line-height: 1.3; color: inherit; margin: 0; text-align: center; }
.bp-viewer canvas { display: block; width: 100%; height: auto; image-rendering: pixelated; touch-action: none;
  cursor: grab; user-select: none; outline: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
.bp-viewer .bp-words { text-align: center; font-size: 0.9em; line-height: 1.35; font-variant-numeric: tabular-nums; }
.bp-viewer .bp-words span { display: inline-block; }
.bp-viewer .bp-control { display: flex; flex-wrap: wrap; align-items: center; gap: 0.6em; margin: 0.6em 0 0.2em; }
.bp-viewer .bp-control input { min-width: 0; max-width: 100%; min-height: 2em; margin: 0; font: inherit; }
.bp-viewer input[type=range] { flex: 1 1 12em; accent-color: #0072B2; touch-action: pan-y; }
.bp-viewer button { font: inherit; min-height: 2em; }
.bp-viewer output { min-width: 15em; font-variant-numeric: tabular-nums; }
.bp-viewer .bp-message { font-weight: 600; margin: 0.3em 0 0; overflow-wrap: anywhere; }
.bp-viewer .bp-message:empty { display: none; }
.bp-viewer .bp-hint, .bp-viewer .bp-caption { font-size: 0.9em; margin: 0.3em 0 0; }
`;
const DEGREES = 5; // a press of an arrow key
const STEP = 2 ** 0.25; // a press of + or -

let views = 0;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const digits = (x) => Number(x.toPrecision(3)).toString();
const counted = (n) => n.toLocaleString("en");

function render({ model, el }) {
  const id = `bp-viewer-${Date.now().toString(36)}-${views++}`;
  const easel = document.createElement("canvas"); // stays off the page; the panels have their own
  let painter = new Painter(easel);

  const files = model.get("files").map((file) => parseFile(file));
  const panels = model.get("panels").map((given) => {
    const canvas = make("canvas", { role: "img" });
    const words = make("div", { class: "bp-words" });
    const figure = make("figure", {}, make("figcaption", {}, given.label), canvas, words);
    return { ...given, own: files[given.file], canvas, words, figure, pen: canvas.getContext("2d") };
  });

  const keys = "Arrow keys turn the view, + and − zoom, Home goes back to the start.";
  const stage = make(
    "div",
    { class: "bp-panels", tabindex: 0, role: "application", "aria-label": `The scene. ${keys}`, "data-lm-suppress-shortcuts": "true" },
    ...panels.map((p) => p.figure),
  ); // the last attribute keeps JupyterLab from taking the keys
  const zoom = make("input", { id, type: "range", min: Math.log2(LEAST), max: Math.log2(MOST), step: 0.125 });
  const output = make("output", { for: id, "aria-live": "polite" });
  const home = make("button", { type: "button" }, "Back to the start");
  const picker = make("input", { id: `${id}-file`, type: "file", accept: ".ply,.splat" });
  const own = make("button", { type: "button", hidden: "" }, "Show the figure's own files again");
  const message = make("p", { class: "bp-message", role: "status" });
  const root = make(
    "div",
    { class: "bp-viewer", role: "group", "aria-label": `${panels.map((p) => p.label).join(", ")} under one camera` },
    make("style", {}, STYLE),
    stage,
    make("div", { class: "bp-control" }, make("label", { for: id }, "zoom"), zoom, output, home),
    make("div", { class: "bp-control" }, make("label", { for: picker.id }, "a .ply or .splat file of yours"), picker, own),
    message,
    make("p", { class: "bp-hint" }, `Drag a picture to turn the scene; wheel or two fingers zoom. ${keys}`),
    make("p", { class: "bp-caption" }, model.get("caption")),
  );

  // ---- what is shown
  let scene; // { start, target } of the camera
  let sorter; // of the clouds that differ
  let orders; // of their Gaussians, as seen in
  let direction; // the camera's depth row, as text
  let [stale, busy] = [false, false];

  const camera = () => {
    const { yaw, pitch, zoom, size } = Object.fromEntries(["yaw", "pitch", "zoom", "size"].map((k) => [k, model.get(k)]));
    return orbit(scene.start, scene.target, model.get("up"), { yaw, pitch, zoom, size });
  };

  function show(given, at) {
    const filtered = new Map(given.map((cloud) => [cloud, smooth3D(cloud)]));
    const clouds = panels.map((p, i) => (p.method.smooth_3d ? filtered.get(given[i]) : given[i]));
    painter.hold(clouds);
    const different = [...filtered.keys()];
    panels.forEach((p, i) => {
      Object.assign(p, { cloud: clouds[i], which: different.indexOf(given[i]) });
      const parts = p.formula.split(/(?<=,) /).flatMap((part) => [make("span", {}, part), " "]); // lines break at commas first
      p.words.replaceChildren(`${counted(p.cloud.count)} Gaussians`, make("br"), ...parts);
    });
    sorter?.stop();
    sorter = new Sorter(different.map((cloud) => cloud.means));
    [scene, direction] = [at, null];
    refresh();
  }

  // Sort if the direction of view has changed, draw, and begin again if there was a change meanwhile.
  async function draw() {
    if (busy) return;
    busy = true;
    while (stale && sorter) {
      stale = false;
      const [seen, asked] = [camera(), sorter];
      const row = depthRow(seen);
      if (`${row}` !== direction) {
        const found = await Promise.all(asked.all.map((_, i) => asked.order(i, row)));
        if (asked !== sorter) continue; // other clouds have come; they have made this stale
        [orders, direction] = [found, `${row}`];
      }
      const shown = panels.map(({ cloud, method, which, background }) => ({ cloud, method, order: orders[which], background }));
      const pictures = await painter.paint(shown, seen);
      pictures?.forEach((picture, i) => {
        const { canvas, pen } = panels[i];
        if (canvas.width !== picture.width) canvas.width = picture.width;
        if (canvas.height !== picture.height) canvas.height = picture.height;
        pen.putImageData(picture, 0, 0);
      });
    }
    busy = false;
    root.dataset.ready = "yes"; // the pictures are those of the traits
  }

  function refresh() {
    const [z, yaw, pitch] = ["zoom", "yaw", "pitch"].map((name) => model.get(name));
    const words = `zoom ${digits(z)} ×, ${digits(yaw)}° to the right, ${digits(pitch)}° up`;
    zoom.value = Math.log2(z);
    zoom.setAttribute("aria-valuetext", `zoom ${digits(z)}`);
    output.textContent = words;
    for (const p of panels) p.canvas.setAttribute("aria-label", `${p.label}, ${counted(p.cloud.count)} Gaussians, ${words}`);
    root.dataset.ready = "no";
    stale = true;
    draw();
  }

  // ---- controls
  function set(values) {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  }
  const zoomTo = (z) => set({ zoom: between(LEAST, z, MOST) });
  const turnBy = (right, upward) => {
    const [low, high] = model.get("pitch_range");
    const yaw = model.get("yaw") + right;
    set({ yaw: yaw - 360 * Math.round(yaw / 360), pitch: between(low, model.get("pitch") + upward, high) });
  };
  const goHome = () => set({ zoom: 1, yaw: 0, pitch: 0 });

  const pressed = {
    ArrowLeft: () => turnBy(-DEGREES, 0), ArrowRight: () => turnBy(DEGREES, 0),
    ArrowUp: () => turnBy(0, DEGREES), ArrowDown: () => turnBy(0, -DEGREES),
    "+": () => zoomTo(model.get("zoom") * STEP), "=": () => zoomTo(model.get("zoom") * STEP),
    "-": () => zoomTo(model.get("zoom") / STEP), "_": () => zoomTo(model.get("zoom") / STEP),
    Home: goHome,
  };
  stage.addEventListener("keydown", (event) => {
    if (!pressed[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    pressed[event.key]();
  });
  zoom.addEventListener("input", () => zoomTo(2 ** Number(zoom.value)));
  home.addEventListener("click", goHome);

  const fingers = new Map(); // pointers on a picture: id -> [x, y]
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  };
  for (const { canvas } of panels) {
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const before = fingers.size > 1 ? spread() : 0;
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (fingers.size > 1) return zoomTo((model.get("zoom") * spread()) / before);
      const degrees = 180 / canvas.getBoundingClientRect().width; // across a picture is half a turn
      turnBy((last[0] - event.clientX) * degrees, (event.clientY - last[1]) * degrees); // the scene follows the finger
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => {
      const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
      const z = between(LEAST, model.get("zoom") * 2 ** (-pixels / (event.ctrlKey ? 100 : 400)), MOST);
      if (z === model.get("zoom") && !event.ctrlKey) return; // at its end the page scrolls on
      event.preventDefault();
      zoomTo(z);
    }, { passive: false });
  }

  // ---- files of the reader
  const first = { start: model.get("start"), target: model.get("target") };
  const showOwn = () => show(panels.map((p) => p.own), first);
  let opening = 0;

  async function open(file) {
    if (!file) return;
    const mine = ++opening;
    try {
      if (file.size > 1e9) throw new Error(`it has ${counted(file.size)} bytes, too many for a page`);
      message.textContent = `Reading ${file.name} …`;
      const cloud = parseFile(await file.arrayBuffer(), file.name);
      if (mine !== opening) return; // the reader has chosen another one meanwhile
      const { moved, ...at } = aimAt(cloud, first.start, first.target);
      show(panels.map(() => cloud), at);
      const needs = panels.some((p) => p.method.smooth_3d) && !cloud.phi;
      message.textContent = [
        `${file.name}: ${counted(cloud.count)} Gaussians, spherical harmonics of degree ${cloud.degree}, in every panel.`,
        needs ? "It holds no filter_3D, so that no 3D filter is applied." : "",
        moved ? "The camera has moved to where it sees them." : "",
      ].filter(Boolean).join(" ");
      own.hidden = false;
    } catch (error) {
      if (mine === opening) message.textContent = `${file.name} cannot be shown: ${error.message}.`;
    }
  }

  picker.addEventListener("change", () => open(picker.files[0]));
  own.addEventListener("click", () => {
    opening++;
    showOwn();
    message.textContent = "";
    picker.value = "";
    own.hidden = true;
  });
  const over = (event, is) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    root.classList.toggle("bp-over", is);
  };
  root.addEventListener("dragover", (event) => over(event, true));
  root.addEventListener("dragleave", (event) => over(event, false));
  root.addEventListener("drop", (event) => {
    over(event, false);
    open(event.dataTransfer?.files[0]);
  });

  // ---- start, and the end
  easel.addEventListener("webglcontextlost", (event) => event.preventDefault()); // so that it may come back
  easel.addEventListener("webglcontextrestored", () => {
    painter = new Painter(easel);
    refresh();
  });
  const traits = ["zoom", "yaw", "pitch", "size"];
  showOwn();
  for (const name of traits) model.on(`change:${name}`, refresh);
  el.replaceChildren(root);
  return () => {
    for (const name of traits) model.off(`change:${name}`, refresh);
    sorter.stop();
    sorter = null;
    painter.gl.getExtension("WEBGL_lose_context")?.loseContext();
  };
}

export default { render };
