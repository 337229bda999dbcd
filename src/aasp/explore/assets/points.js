"use strict";
// Draws many points: by WebGL through twgl, or on a 2-D canvas where there is none.

const VERTEX = `
attribute vec2 place; attribute vec4 colour; uniform vec2 scale, shift; uniform mediump float size; varying vec4 tone;
void main() { gl_Position = vec4(place * scale + shift, 0.0, 1.0); gl_PointSize = size; tone = colour; }`;
const FRAGMENT = `
precision mediump float; varying vec4 tone; uniform mediump float size;
void main() {
  float inside = clamp((0.5 - distance(gl_PointCoord, vec2(0.5))) * size + 0.5, 0.0, 1.0) * tone.a;
  gl_FragColor = vec4(tone.rgb * inside, inside);
}`;

function pointDrawer(canvas) {
  const gl = canvas.getContext("webgl", { antialias: false });
  return gl ? byWebGL(gl) : byCanvas(canvas.getContext("2d"));
}

function byWebGL(gl) {
  let program, buffers, given;
  const upload = () => {
    buffers = given && twgl.createBufferInfoFromArrays(gl, {
      place: { numComponents: 2, data: given.places },
      colour: { numComponents: 4, data: new Uint8Array(given.colours.buffer), normalize: true },
    });
  };
  const fill = () => { program = twgl.createProgramInfo(gl, [VERTEX, FRAGMENT]); upload(); };
  gl.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  gl.canvas.addEventListener("webglcontextrestored", fill);
  fill();
  return {
    kind: "WebGL",
    set(places, colours) { // Float32Array x, y; Uint32Array with red in the lowest byte, alpha in the highest
      if (buffers) for (const one of Object.values(buffers.attribs)) gl.deleteBuffer(one.buffer);
      given = { places, colours };
      upload();
    },
    draw({ x, y, pixels }, size, many) { // the last so many of them
      const { width, height } = gl.canvas;
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.enable(gl.BLEND);
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      gl.useProgram(program.program);
      twgl.setBuffersAndAttributes(gl, program, buffers);
      const scale = [(2 * pixels) / width, (2 * pixels) / height];
      twgl.setUniforms(program, { scale, shift: [-x * scale[0], -y * scale[1]], size });
      twgl.drawBufferInfo(gl, buffers, gl.POINTS, many, given.colours.length - many);
    },
  };
}

function byCanvas(context) {
  let places, colours;
  return {
    kind: "2-D canvas",
    set(p, c) { places = p; colours = c; },
    draw({ x, y, pixels }, size, many) {
      const { width, height } = context.canvas;
      context.clearRect(0, 0, width, height);
      let was = -1;
      for (let i = colours.length - many; i < colours.length; i++) {
        const u = (places[2 * i] - x) * pixels + width / 2, v = height / 2 - (places[2 * i + 1] - y) * pixels;
        if (u < -size || v < -size || u > width + size || v > height + size) continue;
        const now = colours[i];
        if (now !== was) {
          context.fillStyle = `rgba(${now & 255},${(now >> 8) & 255},${(now >> 16) & 255},${(now >>> 24) / 255})`;
        }
        was = now;
        context.fillRect(u - size / 2, v - size / 2, size, size);
      }
    },
  };
}
