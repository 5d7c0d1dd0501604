// Clouds of Gaussians: from the bytes of a file, and through the 3D smoothing filter.

const C0 = 0.5 / Math.sqrt(Math.PI); // the constant spherical harmonic: colour = 0.5 + C0 * coefficient
const LIMIT = 2_000_000; // Gaussians in a file; about what the memory of a laptop's graphics chip holds
const LARGEST = 1e15; // of any number in a file: a shader can still square it

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
