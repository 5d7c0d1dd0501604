import { depthRow } from "./camera.js";
import { smooth3D } from "./clouds.js";
import { COPY, FRAGMENT, HEAD, ROW, VERTEX, WHOLE } from "./shaders.js";
import { depthOrder } from "./sort.js";

// Draws clouds with WebGL2 and reads the pictures back, which are small. Blending happens in 16-bit floats where that is
// possible: 8 bits lose what faint Gaussians add. Reading waits for the graphics chip without holding up the page.
export class Painter {
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

// One picture of a cloud, without worker and controls: ImageData, [height, width, 4] bytes from the top row down. For tests.
export async function renderOnce(canvas, cloud, method, camera, { background = [0, 0, 0], floats = true } = {}) {
  const order = depthOrder(cloud.means, depthRow(camera));
  const shown = { cloud: method.smooth_3d ? smooth3D(cloud) : cloud, method, order, background };
  const [picture] = await new Painter(canvas, floats).paint([shown], camera);
  return picture;
}
