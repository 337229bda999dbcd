// The page: a dropped, chosen or recorded sound, its picture, and what the model says of it.
import { load } from "./model.js";
import { channelsOf } from "./wav.js";

const byId = (id) => document.getElementById(id);
const state = byId("state");
const LIVE_SECONDS = 0.25; // from one answer to the next while listening
let model, listening;

const showStatus = (text, wrong = false) => { state.textContent = text; state.classList.toggle("error", wrong); };
const trying = (task) => async (...given) => {
  try { await task(...given); } catch (error) { stop(); showStatus(error.message, true); }
};

/** A file's samples at the model's rate, of the channel that the model was trained on. */
async function decoded(file) {
  const bytes = await file.arrayBuffer();
  const channels = channelsOf(bytes, model.about.rate) ?? (await decodedByBrowser(bytes, file.name));
  const chosen = model.about.channels ?? "mean";
  if (chosen === "mean")
    return channels[0].map((_, i) => channels.reduce((sum, samples) => sum + samples[i], 0) / channels.length);
  const energy = (samples) => samples.reduce((sum, x) => sum + x * x, 0);
  if (chosen === "loudest") return channels.reduce((one, other) => (energy(other) > energy(one) ? other : one));
  const found = channels[chosen === "first" ? 0 : Number(chosen) - 1];
  if (!found) throw new Error(`${file.name}: has no channel ${chosen}, only ${channels.length}`);
  return found;
}

async function decodedByBrowser(bytes, name) {
  let buffer;
  try { buffer = await new OfflineAudioContext(1, 1, model.about.rate).decodeAudioData(bytes); }
  catch { throw new Error(`${name}: no sound that this browser can read; try WAV, MP3 or FLAC`); }
  return Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel));
}

const analyse = trying(async (file) => {
  stop();
  showStatus(`Listening to ${file.name} …`);
  const wave = await decoded(file), began = performance.now();
  const found = await model.analyse(wave);
  show(found.tags);
  const picture = await draw(wave);
  const seconds = wave.length / model.about.rate, took = (performance.now() - began) / 1000;
  showStatus(`${file.name}: ${seconds.toFixed(1)} s, analysed in ${took.toFixed(1)} s`);
  window.result = { ...found, ...picture, seconds, took };
});

function show(tags) {
  byId("tags").replaceChildren(...tags.map(({ label, share }) => {
    const [item, name, value] = ["li", "span", "span"].map((kind) => document.createElement(kind));
    name.textContent = label;
    value.textContent = `${(100 * share).toFixed(0)} %`;
    item.style.setProperty("--share", `${100 * Math.max(0, share)}%`);
    item.append(name, value);
    return item;
  }));
}

/** Paint a sound from its beginning to its end; returns what was painted. */
async function draw(wave) {
  const { bins, rates, window: size, rate } = model.about;
  const frames = [], patches = [];
  for await (const part of model.look(wave)) { frames.push(...rows(part.spectrogram, bins)); patches.push(...rows(part.modulations, rates.length)); }
  const share = wave.length / (Math.ceil(wave.length / size) * size);
  const kept = (all) => all.slice(0, Math.max(1, Math.round(all.length * share)));
  paint(byId("spectrogram"), kept(frames), -1.5, 1.5);
  paint(byId("modulations"), kept(patches), 0, 0.5);
  byId("to").textContent = `${(wave.length / rate).toFixed(1)} s`;
  return { frames, patches };
}

function* rows(data, width) {
  for (let i = 0; i < data.length; i += width) yield data.subarray(i, i + width);
}

/** Columns of values as colours, the first value at the bottom. */
function paint(canvas, columns, low, high) {
  canvas.width = columns.length;
  canvas.height = columns[0].length;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  columns.forEach((column, x) => column.forEach((value, row) => {
    const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
    const at = 4 * ((canvas.height - 1 - row) * canvas.width + x);
    image.data.set([255 * Math.min(1, 1.6 * share), 255 * share ** 1.5, 255 * (0.25 + 0.4 * Math.sin(Math.PI * share)), 255], at);
  }));
  context.putImageData(image, 0, 0);
}

const CAPTURE = `registerProcessor("capture", class extends AudioWorkletProcessor {
  process(inputs) { if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice()); return true; }
});`;

const start = trying(async () => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true }).catch(() => {
    throw new Error("no microphone: allow it, or drop a file");
  });
  const context = new AudioContext({ sampleRate: model.about.rate });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([CAPTURE], { type: "text/javascript" })));
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1 });
  const recent = new Float32Array(2 * model.about.window);
  let filled = 0;
  capture.port.onmessage = ({ data }) => {
    recent.copyWithin(0, data.length);
    recent.set(data, recent.length - data.length);
    filled = Math.min(recent.length, filled + data.length);
  };
  context.createMediaStreamSource(stream).connect(capture);
  listening = { stream, context, answers: 0 };
  byId("record").textContent = "stop";
  showStatus("Listening …");
  const own = listening;
  while (listening === own) {
    const began = performance.now(), wave = recent.slice(recent.length - Math.min(filled, recent.length));
    if (wave.length >= model.about.window) {
      const found = await model.analyse(wave.subarray(wave.length - model.about.window));
      if (listening !== own) break;
      show(found.tags);
      await draw(wave);
      window.result = { ...found, answers: ++own.answers, took: (performance.now() - began) / 1000 };
    }
    await new Promise((done) => setTimeout(done, Math.max(0, 1000 * LIVE_SECONDS - (performance.now() - began))));
  }
});

function stop() {
  listening?.stream.getTracks().forEach((track) => track.stop());
  listening?.context.close();
  listening = undefined;
  byId("record").textContent = "listen";
}

const drop = byId("drop");
for (const name of ["dragover", "dragleave", "drop"])
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.toggle("over", name === "dragover"); });
drop.addEventListener("drop", (event) => event.dataTransfer.files.length && analyse(event.dataTransfer.files[0]));
byId("file").addEventListener("change", (event) => event.target.files.length && analyse(event.target.files[0]));
byId("record").addEventListener("click", () => (listening ? stop() : start()));

trying(async () => {
  model = await load(new URL("./model/", import.meta.url));
  const { rates, kind } = model.about;
  byId("tags-title").textContent = kind === "classifier" ? "Classes" : "Nearest sounds";
  byId("slowest").textContent = `${rates[0].toFixed(0)} Hz, at the bottom`;
  byId("fastest").textContent = `to ${rates.at(-1).toFixed(0)} Hz`;
  byId("record").disabled = false;
  showStatus("Ready.");
  window.ready = true;
})();
