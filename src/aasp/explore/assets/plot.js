"use strict";
// The map's data, colours, drawing and moving about; what is chosen, found and pressed is in map.js.

const by = (id) => document.getElementById(id);
const data = JSON.parse(by("data").textContent);
const unpacked = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
const places = unpacked(data.places, Float32Array), count = places.length / 2, NONE = 65535;
const columns = data.columns.map((column) => column.values
  ? { ...column, codes: unpacked(column.codes, Uint16Array) }
  : { ...column, numbers: unpacked(column.numbers, Float64Array) });
const COLOURS = 10, MORE = 40, LISTED = 50, DIMMED = 26, REACH = 14, NAMED = 14;
const SLOW = 40, FAST = 24, REST = 150; // milliseconds: of a frame while the map moves, and after the last until it rests
const LEAST = 4000; // points that are drawn while it moves, at least
const DENSITY_HALF = 256; // half of the picture's side in CSS pixels, before it is scaled

const plot = by("plot"), drawer = pointDrawer(by("points")), marks = by("marks").getContext("2d");
const density = plot.insertBefore(new Image(), plot.firstChild), audio = by("audio");
density.alt = "";
const view = { x: 0, y: 0, zoom: 1, ratio: 1, width: 1, height: 1 };
let column = columns[0], only = -1, words = "", bright = new Uint8Array(count).fill(1), chosen = -1, hovered = -1;
let requested = 0, moving = false, moved = 0, stale = true, named = [];
let many = count, drawn = 0; // points drawn while the map moves; when the last frame of a move was
let marked = { x: 0, y: 0, pixels: 1 }; // the view that the marks were drawn for
const mixed = shuffled(count); // the order in which points are drawn: the last so many are a fair sample of all

const furthest = [0, 1].map((axis) => places.reduce((far, one, k) => (k % 2 === axis ? Math.max(far, Math.abs(one)) : far), 0.1));
const pixels = () => 0.46 * Math.min(view.width / furthest[0], view.height / furthest[1]) * view.zoom; // of a unit
const onScreen = (i) => [
  (places[2 * i] - view.x) * pixels() + view.width / 2, view.height / 2 - (places[2 * i + 1] - view.y) * pixels(),
];
const shownCount = (number) => number.toLocaleString("en");
function shuffled(length) { // the same in every page of so many points
  const order = Uint32Array.from({ length }, (_, i) => i);
  let state = 1;
  for (let i = length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// Colours

const style = () => getComputedStyle(document.documentElement);
function rgb(css) {
  const context = rgb.context ??= Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });
  context.fillStyle = css;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
function categoryColour(code, tones) {
  if (code < COLOURS) return tones.getPropertyValue(`--c${code}`).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return code < MORE ? `hsl(${(code * 137.5) % 360} 45% ${dark ? 68 : 42}%)` : tones.getPropertyValue("--other").trim();
}
function scaleColours(tones) {
  const [low, middle, high] = ["--low", "--middle", "--high"].map((name) => rgb(tones.getPropertyValue(name).trim()));
  return Array.from({ length: 256 }, (_, k) => {
    const [from, to, share] = k < 128 ? [low, middle, k / 128] : [middle, high, (k - 128) / 127];
    return from.map((one, channel) => Math.round(one + (to[channel] - one) * share));
  });
}
function ends({ numbers }) {
  let low = Infinity, high = -Infinity;
  for (const one of numbers) if (!Number.isNaN(one)) { low = Math.min(low, one); high = Math.max(high, one); }
  return [low, high];
}
function recolour() {
  const tones = style(), packed = ([red, green, blue]) => red | (green << 8) | (blue << 16);
  const other = packed(rgb(tones.getPropertyValue("--other").trim()));
  let of;
  if (column.values) {
    const palette = column.values.slice(0, MORE).map((_, code) => packed(rgb(categoryColour(code, tones))));
    of = (i) => palette[column.codes[i]] ?? other;
  } else {
    const palette = scaleColours(tones).map(packed), [low, high] = ends(column);
    of = (i) => palette[Math.round((255 * (column.numbers[i] - low)) / (high - low))] ?? other;
  }
  const ordered = new Float32Array(2 * count), colours = new Uint32Array(count); // red is the lowest byte
  const alpha = bright.includes(0) ? 255 : Math.round(255 * Math.max(0.55, Math.min(0.9, 60 / Math.sqrt(count))));
  let place = 0;
  for (const pass of [0, 1]) { // what is dimmed lies below
    for (const i of mixed) {
      if (bright[i] !== pass) continue;
      ordered[2 * place] = places[2 * i];
      ordered[2 * place + 1] = places[2 * i + 1];
      colours[place++] = of(i) | ((pass ? alpha : DIMMED) << 24);
    }
  }
  drawer.set(ordered, colours);
  named = column.values && column.values.length <= NAMED ? column.values.map(densest).filter(Boolean) : [];
  draw();
}
function densest(name, code) { // where a category's name is written: the middle of the cell with most of its points
  const cells = new Map();
  for (let i = 0; i < count; i++) {
    if (column.codes[i] !== code || !bright[i]) continue;
    const key = Math.floor(12 * (places[2 * i] + 1)) * 64 + Math.floor(12 * (places[2 * i + 1] + 1));
    const cell = cells.get(key) ?? [0, 0, 0];
    cells.set(key, [cell[0] + 1, cell[1] + places[2 * i], cell[2] + places[2 * i + 1]]);
  }
  const [most, x, y] = [...cells.values()].reduce((best, one) => (one[0] > best[0] ? one : best), [0, 0, 0]);
  return most && { name: name.length > 24 ? name.slice(0, 23) + "…" : name, x: x / most, y: y / most };
}

// Drawing

function draw(isMoving = false) { // everything, in the next frame
  moving ||= isMoving;
  stale = true;
  mark();
}
function mark() { requested ||= requestAnimationFrame(frame); } // only what lies over the points
function frame(now) {
  requested = 0;
  if (moving && drawn) many = fitting(now - drawn);
  if (moving && !stale && now - moved > REST) { moving = false; stale = true; }
  drawn = moving && stale ? now : 0;
  if (stale) { drawPoints(moving ? many : count); moved = now; }
  stale = false;
  if (!moving) return drawMarks();
  follow();
  mark(); // so that the next frame says how long this one took
}
function fitting(took) { // how many points to draw: fewer where frames take long, all where they don't
  if (took > SLOW) return Math.max(Math.min(LEAST, count), Math.round(many * Math.max(0.1, FAST / took)));
  return took < FAST ? Math.min(count, Math.round(1.2 * many)) : many;
}
function drawPoints(last) {
  const base = count < 2000 ? 7 : count < 20000 ? 4.5 : 2.6, size = Math.min(14, base * view.zoom ** 0.35), half = pixels();
  drawer.draw({ x: view.x, y: view.y, pixels: half * view.ratio }, size * view.ratio, last);
  density.style.transform = `translate(${-view.x * half}px, ${view.y * half}px) scale(${half / DENSITY_HALF})`;
}
function follow() { // moves the marks' picture with the points; it is drawn again when the map is at rest
  const now = pixels(), u = (marked.x - view.x) * now, v = (view.y - marked.y) * now;
  marks.canvas.style.transform = `translate(${u}px, ${v}px) scale(${now / marked.pixels})`;
}
function drawMarks() {
  const tones = style(), ink = tones.getPropertyValue("--ink").trim(), paper = tones.getPropertyValue("--paper").trim();
  marked = { x: view.x, y: view.y, pixels: pixels() };
  marks.canvas.style.transform = "";
  marks.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  marks.clearRect(0, 0, view.width, view.height);
  marks.font = `600 13px ${tones.getPropertyValue("--label")}`;
  marks.textAlign = "center";
  marks.lineJoin = "round";
  const taken = [];
  for (const { name, x, y } of named) {
    const half = marks.measureText(name).width / 2, v = view.height / 2 - (y - view.y) * pixels();
    const at = (x - view.x) * pixels() + view.width / 2;
    const u = at < 0 || at > view.width ? at : Math.min(Math.max(at, half + 4), view.width - half - 4);
    if (taken.some((one) => Math.abs(one.u - u) < one.half + half && Math.abs(one.v - v) < 16)) continue;
    taken.push({ u, v, half });
    marks.strokeStyle = paper; marks.lineWidth = 4; marks.strokeText(name, u, v);
    marks.fillStyle = ink; marks.fillText(name, u, v);
  }
  for (const [i, width] of [[hovered, 1.5], [chosen, 3]]) {
    if (i < 0) continue;
    const [u, v] = onScreen(i);
    for (const [colour, wide] of [[paper, width + 3], [ink, width]]) {
      marks.beginPath(); marks.arc(u, v, 9, 0, 2 * Math.PI);
      marks.strokeStyle = colour; marks.lineWidth = wide; marks.stroke();
    }
  }
}
function resize() {
  const { width, height } = plot.getBoundingClientRect();
  Object.assign(view, { width, height, ratio: Math.min(devicePixelRatio || 1, 2) });
  for (const canvas of plot.querySelectorAll("canvas")) {
    canvas.width = Math.max(1, Math.round(width * view.ratio));
    canvas.height = Math.max(1, Math.round(height * view.ratio));
  }
  draw();
}

// Moving about

function pan(dx, dy) { view.x -= dx / pixels(); view.y += dy / pixels(); draw(true); }
function zoom(factor, u = view.width / 2, v = view.height / 2) {
  const before = pixels(), x = view.x + (u - view.width / 2) / before, y = view.y - (v - view.height / 2) / before;
  view.zoom = Math.min(2000, Math.max(0.5, view.zoom * factor));
  view.x = x - (u - view.width / 2) / pixels();
  view.y = y + (v - view.height / 2) / pixels();
  draw(true);
}
function showAll() { Object.assign(view, { x: 0, y: 0, zoom: 1 }); draw(); }
function nearest(u, v, reach) {
  const x = (u - view.width / 2) / pixels() + view.x, y = (view.height / 2 - v) / pixels() + view.y;
  let best = (reach / pixels()) ** 2, found = -1;
  for (let i = 0; i < count; i++) {
    const away = (places[2 * i] - x) ** 2 + (places[2 * i + 1] - y) ** 2;
    if (bright[i] && away <= best) { best = away; found = i; }
  }
  return found;
}
function step(dx, dy) { // to the nearest point in a direction, within 45 degrees of it
  if (chosen < 0) return choose(nearest(view.width / 2, view.height / 2, Infinity));
  let best = Infinity, found = -1;
  for (let i = 0; i < count; i++) {
    const x = places[2 * i] - places[2 * chosen], y = places[2 * i + 1] - places[2 * chosen + 1];
    const along = x * dx + y * dy, across = Math.abs(x * dy - y * dx), away = along + 2 * across;
    if (bright[i] && along > 0 && across <= along && away < best) { best = away; found = i; }
  }
  choose(found);
}
