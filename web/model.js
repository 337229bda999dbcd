// The model in the browser: waveforms in, vectors, tags and pictures out. Knows nothing of the page.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // several need headers that a plain file server does not send
ort.env.logLevel = "error";

/** Load what `aasp export --to web` wrote. */
export async function load(folder) {
  const fetched = async (name) => {
    const answer = await fetch(new URL(name, folder));
    if (!answer.ok) throw new Error(`${name}: not there; make it with: aasp export MODEL --to web --out web/model`);
    return answer;
  };
  const about = await (await fetched("demo.json")).json();
  const open = async (name) =>
    ort.InferenceSession.create(new Uint8Array(await (await fetched(name)).arrayBuffer()), { executionProviders: ["wasm"] });
  return new Model(about, await open("model.onnx"), await open("picture.onnx"));
}

class Model {
  constructor(about, whole, picture) {
    Object.assign(this, { about, whole, picture });
    this.references = about.neighbours.map(({ label, vector }) => ({ label, vector: unit(subtract(vector, about.centre)) }));
  }

  /** What the model says of a waveform at its rate: its vector, or its probabilities, and the likeliest labels. */
  async analyse(wave) {
    const shortest = this.about.shortest;
    if (wave.length < shortest) throw new Error(`too short: give at least ${(1000 * shortest) / this.about.rate} ms`);
    const given = {
      wave: new ort.Tensor("float32", wave, [1, wave.length]),
      lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(wave.length)), [1]),
    };
    const name = this.about.kind === "classifier" ? "probabilities" : "clip";
    const vector = (await this.whole.run(given, [name]))[name].data;
    return { vector, tags: this.about.kind === "classifier" ? this.likeliest(vector) : this.nearest(vector) };
  }

  likeliest(probabilities) {
    return top(this.about.classes.map((label, k) => ({ label, share: probabilities[k] })));
  }

  nearest(vector) {
    const own = unit(subtract(vector, this.about.centre));
    const closest = new Map();
    for (const { label, vector: other } of this.references)
      closest.set(label, Math.max(closest.get(label) ?? -1, other.reduce((sum, x, i) => sum + x * own[i], 0)));
    return top([...closest].map(([label, share]) => ({ label, share })));
  }

  /** Log-mel (frames, bins) and modulations (patches, rates) of a waveform, a window of the model at a time. */
  async *look(wave) {
    const { window } = this.about;
    for (let start = 0; start === 0 || start < wave.length; start += window) {
      const part = new Float32Array(window);
      part.set(wave.subarray(start, start + window));
      const seen = await this.picture.run({ wave: new ort.Tensor("float32", part, [1, window]) });
      yield { start, spectrogram: seen.spectrogram.data, modulations: seen.modulations.data };
    }
  }
}

const top = (tags) => tags.sort((a, b) => b.share - a.share).slice(0, 5);
const subtract = (a, b) => Array.from(a, (x, i) => x - b[i]);
function unit(vector) {
  const length = Math.hypot(...vector) || 1;
  return vector.map((x) => x / length);
}
