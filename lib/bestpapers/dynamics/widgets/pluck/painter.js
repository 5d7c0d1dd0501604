// Draws the picture as a mesh whose corners move, with WebGL2. Each cell of the volume is a corner; beyond the edge of the
// picture the mesh goes on, mirrored, so that no gap opens there. What moves more lies in front. Where the mesh is torn apart
// the ground shows: the picture without what moves, filled in from around it. Where no ground is near, the mesh stretches.

const BEYOND = 0.12; // of each side: how far the mesh goes on outside the picture
const TEAR = 3; // a mesh stretched by more than this is torn
const [AROUND, ENOUGH] = [4, 0.4]; // if so much is ground in an eighth of the picture, AROUND levels below the coarsest
const STILL = 0.06; // of the largest weight: what moves less is ground
const MOST = { chip: 1600, software: 640 }; // pixels across the canvas

const CORNERS = `#version 300 es
in vec2 place;   // in the picture, 0 to 1, and a little beyond
in vec2 moved;   // by how much, in the same unit
in float front;  // 0 to 1
uniform float up;
out vec2 at;
void main() {
  at = place;
  vec2 to = place + moved;
  gl_Position = vec4(2.0 * to.x - 1.0, up * (1.0 - 2.0 * to.y), 0.9 - 1.8 * front, 1.0);
}`;

const PICTURE = `#version 300 es
precision highp float;
uniform sampler2D picture, ground;
uniform vec2 size;    // px of the canvas
uniform float up;
uniform int levels;   // of the ground, each half as fine as the one before
in vec2 at;
out vec4 colour;

// Catmull and Rom's cubic in nine samples between texels: a small picture enlarged without blocks
vec3 smoothly(vec2 uv) {
  vec2 texels = vec2(textureSize(picture, 0)), p = uv * texels, middle = floor(p - 0.5) + 0.5, f = p - middle;
  vec2 w0 = f * (-0.5 + f * (1.0 - 0.5 * f)), w1 = 1.0 + f * f * (1.5 * f - 2.5);
  vec2 w2 = f * (0.5 + f * (2.0 - 1.5 * f)), w3 = f * f * (0.5 * f - 0.5), w12 = w1 + w2;
  vec2 a = (middle - 1.0) / texels, b = (middle + w2 / w12) / texels, c = (middle + 2.0) / texels;
  vec3 sum = w12.x * w12.y * texture(picture, b).rgb;
  sum += w0.x * w12.y * texture(picture, vec2(a.x, b.y)).rgb + w3.x * w12.y * texture(picture, vec2(c.x, b.y)).rgb;
  sum += w12.x * w0.y * texture(picture, vec2(b.x, a.y)).rgb + w12.x * w3.y * texture(picture, vec2(b.x, c.y)).rgb;
  sum += w0.x * w0.y * texture(picture, a).rgb + w3.x * w3.y * texture(picture, c).rgb;
  sum += w3.x * w0.y * texture(picture, vec2(c.x, a.y)).rgb + w0.x * w3.y * texture(picture, vec2(a.x, c.y)).rgb;
  return sum;
}

void main() {
  // How much of the picture lies in a pixel of the canvas, along the direction that is stretched most
  vec2 a = dFdx(at) * size, b = dFdy(at) * size;
  float sum = dot(a, a) + dot(b, b), area = a.x * b.y - a.y * b.x;
  float least = sqrt(max(0.0, 0.5 * (sum - sqrt(max(0.0, sum * sum - 4.0 * area * area)))));
  if (least < ${(1 / TEAR).toFixed(4)}) {
    vec2 here = vec2(gl_FragCoord.x / size.x, 0.5 + up * (0.5 - gl_FragCoord.y / size.y));
    if (textureLod(ground, here, float(levels - ${AROUND})).a > ${ENOUGH}) discard;
  }
  colour = vec4(smoothly(at), 1.0);
}`;

const WHOLE = `#version 300 es
uniform float up;
out vec2 at;
void main() {
  vec2 corner = vec2(2 * (gl_VertexID & 1), gl_VertexID & 2);
  at = vec2(corner.x, 0.5 + up * (0.5 - corner.y));
  gl_Position = vec4(2.0 * corner - 1.0, 0.99, 1.0);
}`;

// Pull and push: coarse copies of what stands still know a colour everywhere, finer ones overrule them where they know one.
const GROUND = `#version 300 es
precision highp float;
uniform sampler2D picture, ground;
uniform int levels;
in vec2 at;
out vec4 colour;
void main() {
  vec4 found = vec4(0.0);
  for (int level = levels - 1; level >= 0; level--) {
    vec4 here = textureLod(ground, at, float(level));  // colour times how much of it is ground, and how much
    if (here.a < 0.004) continue;
    vec3 own = here.rgb / here.a;
    float sure = found.a == 0.0 ? 1.0 : min(1.0, 2.0 * here.a);
    found = vec4(mix(found.rgb, own, sure), 1.0);
  }
  colour = vec4(found.a > 0.0 ? found.rgb : texture(picture, at).rgb, 1.0);
}`;

const blank = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

// Does a graphics chip draw, or the processor? Null where there is no WebGL2 at all.
export function drawnBy() {
  const gl = blank(1, 1).getContext("webgl2");
  if (!gl) return null;
  let name = gl.getParameter(gl.RENDERER);
  const more = name === "WebKit WebGL" && gl.getExtension("WEBGL_debug_renderer_info");
  if (more) name = gl.getParameter(more.UNMASKED_RENDERER_WEBGL);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name) ? "software" : "chip";
}

export class Painter {
  // A graphics chip draws on `canvas` itself. The processor draws smaller, elsewhere, and what it has drawn is fetched once it is
  // done: a canvas that it draws on itself makes the whole page wait for each frame.
  // Raises an error if the browser has no WebGL2, or its driver refuses the shaders.
  constructor(canvas, picture, volume, by = drawnBy()) {
    const easel = by === "software" ? blank(1, 1) : canvas;
    const gl = by && easel.getContext("webgl2", { alpha: false, antialias: by === "chip" });
    if (!gl) throw new Error("no WebGL2");
    Object.assign(this, { gl, by, easel, canvas, volume, busy: false, again: false });
    this.pen = by === "software" && canvas.getContext("2d");
    this.mesh = this.link(CORNERS, PICTURE);
    this.plate = this.link(WHOLE, GROUND);
    gl.activeTexture(gl.TEXTURE1);
    this.levels = this.texture(this.cut(picture), true);
    gl.activeTexture(gl.TEXTURE0);
    this.texture(picture, false);
    this.build();
    gl.depthFunc(gl.LEQUAL);
    if (this.pen) gl.bindBuffer(gl.PIXEL_PACK_BUFFER, gl.createBuffer());
  }

  link(...sources) {
    const { gl } = this;
    const program = gl.createProgram();
    const shaders = [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].map((kind, i) => {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, sources[i]);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      return shader;
    });
    ["place", "moved", "front"].forEach((name, i) => gl.bindAttribLocation(program, i, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      const logs = [...shaders.map((shader) => gl.getShaderInfoLog(shader)), gl.getProgramInfoLog(program)];
      throw new Error(`the graphics driver refuses the shaders: ${logs.join(" ")}`);
    }
    return program;
  }

  texture(image, levels) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, levels);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.MIRRORED_REPEAT);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, levels ? gl.LINEAR_MIPMAP_NEAREST : gl.LINEAR);
    if (levels) gl.generateMipmap(gl.TEXTURE_2D);
    return 1 + Math.floor(Math.log2(Math.max(this.volume.W, this.volume.H)));
  }

  // The picture with holes where something moves
  cut(picture) {
    const { w, h, W, H, weight } = this.volume;
    const mask = blank(w, h);
    const data = new ImageData(w, h);
    weight.forEach((x, i) => (data.data[4 * i + 3] = x < STILL ? 255 : 0));
    mask.getContext("2d").putImageData(data, 0, 0);
    const sheet = blank(W, H);
    const pen = sheet.getContext("2d");
    pen.drawImage(picture, 0, 0, W, H);
    pen.globalCompositeOperation = "destination-in";
    pen.imageSmoothingEnabled = false;
    pen.drawImage(mask, 0, 0, W, H);
    return sheet;
  }

  build() {
    const { gl, volume } = this;
    const { w, h } = volume;
    const [left, top] = [Math.ceil(BEYOND * w), Math.ceil(BEYOND * h)];
    const [columns, rows] = [w + 2 * left, h + 2 * top];
    const clamp = (x, most) => Math.min(most - 1, Math.max(0, x));
    this.cell = new Int32Array(columns * rows); // of the volume, for each corner
    const still = new Float32Array(3 * columns * rows); // place, front
    for (let y = 0, i = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, i++) {
        this.cell[i] = clamp(y - top, h) * w + clamp(x - left, w);
        still.set([(x - left + 0.5) / w, (y - top + 0.5) / h, volume.weight[this.cell[i]]], 3 * i);
      }
    }
    const triangles = new Uint32Array(6 * (columns - 1) * (rows - 1));
    for (let y = 0, to = 0; y < rows - 1; y++) {
      for (let x = 0; x < columns - 1; x++, to += 6) {
        const i = y * columns + x;
        triangles.set([i, i + 1, i + columns, i + columns, i + 1, i + columns + 1], to);
      }
    }
    this.count = triangles.length;
    this.moved = new Float32Array(2 * this.cell.length);
    gl.bindVertexArray(gl.createVertexArray());
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, still, gl.STATIC_DRAW);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 12, 0);
    gl.vertexAttribPointer(2, 1, gl.FLOAT, false, 12, 8);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, this.moved, gl.DYNAMIC_DRAW);
    gl.vertexAttribPointer(1, 2, gl.FLOAT, false, 8, 0);
    for (const i of [0, 1, 2]) gl.enableVertexAttribArray(i);
  }

  // Make the canvas as fine as the screen, for a width on the page in CSS pixels
  fit(width) {
    const { W, H } = this.volume;
    const across = Math.max(1, Math.round(Math.min(MOST[this.by], width * Math.min(2, devicePixelRatio || 1))));
    if (this.easel.width === across) return;
    this.easel.width = across;
    this.easel.height = Math.max(1, Math.round((across * H) / W));
  }

  // `data-fresh` of the canvas says whether it shows what was asked for last.
  draw(field) {
    this.canvas.dataset.fresh = this.pen ? "no" : "yes";
    if (this.busy) {
      this.again = true; // with what the field holds then
      return;
    }
    this.render(field);
    if (this.pen) this.fetch(field);
  }

  render(field) {
    const { gl, volume, moved, cell, easel } = this;
    const { cells, W, H } = volume;
    for (let i = 0; i < cell.length; i++) {
      moved[2 * i] = field[cell[i]] / W;
      moved[2 * i + 1] = field[cells + cell[i]] / H;
    }
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, moved);
    gl.viewport(0, 0, easel.width, easel.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const up = this.pen ? -1 : 1; // what is fetched comes with the lowest row first
    const at = (program, name) => gl.getUniformLocation(program, name);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(this.plate);
    gl.uniform1f(at(this.plate, "up"), up);
    gl.uniform1i(at(this.plate, "ground"), 1);
    gl.uniform1i(at(this.plate, "levels"), this.levels);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(this.mesh);
    gl.uniform1f(at(this.mesh, "up"), up);
    gl.uniform1i(at(this.mesh, "ground"), 1);
    gl.uniform1i(at(this.mesh, "levels"), this.levels);
    gl.uniform2f(at(this.mesh, "size"), easel.width, easel.height);
    gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_INT, 0);
  }

  async fetch(field) {
    const { gl, easel, canvas, pen } = this;
    const { width, height } = easel;
    this.busy = true;
    gl.bufferData(gl.PIXEL_PACK_BUFFER, 4 * width * height, gl.STREAM_READ);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, 0);
    const done = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    while (gl.clientWaitSync(done, 0, 0) === gl.TIMEOUT_EXPIRED) await new Promise((resolve) => setTimeout(resolve));
    gl.deleteSync(done);
    this.busy = false;
    if (gl.isContextLost()) return;
    const pixels = new Uint8ClampedArray(4 * width * height);
    gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, pixels);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    pen.putImageData(new ImageData(pixels, width, height), 0, 0);
    const again = this.again;
    this.again = false;
    if (again) this.draw(field);
    else canvas.dataset.fresh = "yes";
  }
}
