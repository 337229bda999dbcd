"use strict";
// What people choose, hear, find and press on the map. Names are put in as text and never as HTML.

// Choosing and listening

function valueOf(column, i) {
  if (column.values) return column.values[column.codes[i]] ?? "";
  const number = column.numbers[i];
  if (Number.isNaN(number)) return "";
  return column.kind === "time" ? new Date(number).toISOString().slice(0, 16).replace("T", " ") : String(+number.toPrecision(6));
}
function choose(i, play = true) {
  if (i < 0) return;
  chosen = i;
  const [start, seconds] = data.moments[i];
  by("name").textContent = data.names[i] + (data.windowed ? `, from ${start} to ${+(start + seconds).toFixed(2)} s` : "");
  by("facts").replaceChildren(...columns.flatMap((column) => {
    const value = valueOf(column, i);
    if (value === "") return [];
    const term = document.createElement("dt"), detail = document.createElement("dd");
    term.textContent = column.name; detail.textContent = value;
    return [term, detail];
  }), ...rowNumber(i));
  load(i, play);
  const [u, v] = onScreen(i);
  if (u < 20 || v < 20 || u > view.width - 20 || v > view.height - 20) { view.x = places[2 * i]; view.y = places[2 * i + 1]; }
  draw();
}
function rowNumber(i) {
  const term = document.createElement("dt"), detail = document.createElement("dd");
  term.textContent = "row"; detail.textContent = data.rows ? data.rows[i] : i;
  return [term, detail];
}
function load(i, play) {
  const inside = by(`sound-${i}`), [start, seconds] = data.moments[i], name = data.names[i];
  const remote = name.includes("://"), address = data.elsewhere[i] ?? data.root + name.split("/").map(encodeURIComponent).join("/");
  audio.pause();
  audio.hidden = !inside && (remote || i in data.unread);
  by("source").classList.toggle("bad", i in data.unread);
  by("source").textContent = i in data.unread ? `not readable: ${data.unread[i]}`
    : inside ? "" : remote ? "This sound is not in the page." : `Played from its file: ${decodeURIComponent(address)}`;
  if (audio.hidden) return audio.removeAttribute("src");
  audio.src = inside ? `data:audio/mpeg;base64,${inside.textContent}`
    : address + (data.windowed ? `#t=${start},${start + seconds}` : "");
  if (play) audio.play().catch(() => {}); // said by the error below, or not allowed before the first click
}
audio.addEventListener("error", () => {
  const address = audio.getAttribute("src");
  if (!address) return;
  by("source").classList.add("bad");
  by("source").textContent = address.startsWith("data:") ? "Can't be played: this browser plays no MP3."
    : `Can't be played: ${decodeURIComponent(address)}; keep the page where it was written, seen from the sounds, `
      + "or make it with a larger --page-size.";
});

// Searching

const hay = [];
function filter() {
  const needles = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (needles.length && !hay.length) {
    for (let i = 0; i < count; i++) {
      hay.push([data.names[i], ...columns.map((one) => (one.values ? valueOf(one, i) : ""))].join(" ").toLowerCase());
    }
  }
  const found = [];
  for (let i = 0; i < count; i++) {
    const fits = needles.every((needle) => hay[i].includes(needle)) && (only < 0 || column.codes[i] === only);
    bright[i] = fits ? 1 : 0;
    if (fits && found.length < LISTED) found.push(i);
  }
  const total = bright.reduce((sum, one) => sum + one, 0);
  by("matches").textContent = needles.length || only >= 0 ? `${shownCount(total)} of ${shownCount(count)} shown` : "";
  by("found").hidden = !needles.length || !total;
  by("found").replaceChildren(...found.map((i) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.textContent = data.names[i];
    button.addEventListener("click", () => choose(i));
    item.append(button);
    return item;
  }));
  recolour();
  return found;
}

// The legend

function legend() {
  const tones = style();
  if (!column.values) return scaleLegend(tones);
  by("legend").replaceChildren(...column.values.slice(0, MORE).map((value, code) => {
    const button = document.createElement("button"), dot = document.createElement("i");
    dot.style.background = categoryColour(code, tones);
    button.setAttribute("aria-pressed", only === code);
    button.append(dot, value);
    button.addEventListener("click", () => { only = only === code ? -1 : code; filter(); legend(); });
    return button;
  }));
  if (column.values.length > MORE) {
    const more = document.createElement("span");
    more.textContent = `and ${shownCount(column.values.length - MORE)} more, in grey`;
    by("legend").append(more);
  }
}
function scaleLegend(tones) {
  const bar = Object.assign(document.createElement("canvas"), { width: 256, height: 1 }), context = bar.getContext("2d");
  scaleColours(tones).forEach((colour, k) => { context.fillStyle = `rgb(${colour})`; context.fillRect(k, 0, 1, 1); });
  const labels = document.createElement("div"), [low, high] = ends(column);
  labels.className = "ends";
  for (const end of [low, high]) {
    const label = document.createElement("span");
    label.textContent = valueOf({ ...column, numbers: [end] }, 0);
    labels.append(label);
  }
  by("legend").replaceChildren(bar, labels);
}

// What people do

const pointers = new Map();
let dragged = 0;
function hover(i) {
  if (i === hovered) return;
  hovered = i;
  by("hover").hidden = i < 0;
  if (i >= 0) by("hover").textContent = data.names[i];
  mark();
}
plot.addEventListener("pointerdown", (event) => {
  if (event.target.closest("button")) return;
  plot.setPointerCapture(event.pointerId);
  if (!pointers.size) dragged = 0;
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
});
plot.addEventListener("pointermove", (event) => {
  const now = [event.offsetX, event.offsetY], was = pointers.get(event.pointerId);
  if (!was) {
    return hover(nearest(...now, REACH));
  }
  const before = [...pointers.values()];
  pointers.set(event.pointerId, now);
  const after = [...pointers.values()];
  dragged += Math.hypot(now[0] - was[0], now[1] - was[1]);
  if (after.length === 2) {
    const spread = ([one, other]) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
    zoom(spread(after) / spread(before), (after[0][0] + after[1][0]) / 2, (after[0][1] + after[1][1]) / 2);
  }
  pan((now[0] - was[0]) / after.length, (now[1] - was[1]) / after.length);
});
for (const kind of ["pointerup", "pointercancel"]) {
  plot.addEventListener(kind, (event) => {
    const here = pointers.delete(event.pointerId);
    if (kind === "pointerup" && here && !pointers.size && dragged < 6) {
      choose(nearest(event.offsetX, event.offsetY, event.pointerType === "touch" ? 2 * REACH : REACH));
    }
  });
}
plot.addEventListener("pointerleave", () => hover(-1));
plot.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
}, { passive: false });

const KEYS = {
  ArrowUp: () => step(0, 1), ArrowDown: () => step(0, -1), ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0),
  "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: showAll,
  " ": () => { if (chosen >= 0 && !audio.hidden) audio.paused ? audio.play().catch(() => {}) : audio.pause(); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    by("search").value = words = ""; only = -1;
    filter(); legend(); plot.focus();
  } else if (event.key === "/" && event.target !== by("search")) {
    event.preventDefault(); by("search").focus();
  } else if ((event.target === plot || event.target === document.body) && KEYS[event.key]) {
    event.preventDefault(); KEYS[event.key]();
  }
});
let waiting = 0;
by("search").addEventListener("input", (event) => {
  clearTimeout(waiting);
  waiting = setTimeout(() => { words = event.target.value; filter(); }, 120);
});
by("search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  clearTimeout(waiting);
  words = event.target.value;
  choose(filter()[0] ?? -1);
});
by("colour").addEventListener("change", (event) => { column = columns[event.target.value]; only = -1; filter(); legend(); });
by("in").addEventListener("click", () => zoom(1.4));
by("out").addEventListener("click", () => zoom(1 / 1.4));
by("all").addEventListener("click", showAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { recolour(); legend(); });

by("colour").replaceChildren(...columns.map((one, k) => new Option(one.name, k)));
const sounds = document.querySelectorAll('[id^="sound-"]').length;
by("count").textContent = `${shownCount(data.total)} ${data.windowed ? "moments" : "sounds"} ${by("count").textContent}`;
by("about").textContent = [
  data.density ? `The grey picture is the density of all ${shownCount(data.total)}; ${shownCount(count)} of them, chosen at random, are drawn as points.` : "",
  sounds === count ? `All sounds are in this page, the first ${data.seconds} s of each.`
    : `${shownCount(sounds)} of ${shownCount(count)} sounds are in this page, the first ${data.seconds} s of each; the others are played from their files, which must stay where they were, seen from the page.`,
  Object.keys(data.unread).length ? `${shownCount(Object.keys(data.unread).length)} could not be read.` : "",
  `Drawn by ${drawer.kind}.`,
].filter(Boolean).join(" ");
density.id = "density";
if (data.density) density.src = `data:image/png;base64,${data.density}`;
else density.remove();
new ResizeObserver(resize).observe(plot);
resize();
recolour();
legend();
document.documentElement.dataset.ready = drawer.kind;
