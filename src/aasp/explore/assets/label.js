"use strict";
// Labelling: hear a sound, press a key. Names are put in as text and never as HTML.

const by = (id) => document.getElementById(id);
const KEYS = [..."123456789abcdefghijklmnopqrstuvwxyz"];
const WHY = {
  start: "to begin with", "held out": "drawn at random, to measure the accuracy", rest: "", uncertain: "uncertain",
};
const audio = by("audio");
let state = null, busy = false;

async function send(what, body) {
  if (busy) return;
  busy = true;
  try {
    const how = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(what, how), found = await answer.json();
    by("error").textContent = found.error ?? "";
    if (!found.error) show(found);
  } catch {
    by("error").textContent = "aasp label does not answer; start it again. What was labelled is in the file.";
  } finally {
    busy = false;
  }
}

function show(now) {
  const before = state?.current?.row;
  state = now;
  const { current, classes, accuracy, last } = state, number = (value) => value.toLocaleString("en");
  by("progress").textContent = `${number(state.labelled)} of ${number(state.total)} labelled, ${number(state.heldOut)} of them held out`;
  const between = current?.between.length ? `, between ${current.between.join(" and ")}` : "";
  by("why").textContent = current ? WHY[current.why] + between : "";
  by("name").textContent = !current ? "All sounds are labelled."
    : current.name + (current.windowed ? `, from ${+current.start.toFixed(2)} to ${+(current.start + current.seconds).toFixed(2)} s` : "");
  by("last").textContent = last ? `last: ${last.name}` : "";
  by("undo").disabled = !last;
  by("skip").disabled = !current;
  by("accuracy").textContent = accuracyText(accuracy);
  by("classes").replaceChildren(...classes.map(({ name, count }, k) => {
    const button = document.createElement("button"), key = document.createElement("kbd");
    const text = document.createElement("span"), many = document.createElement("span");
    key.textContent = KEYS[k]; text.textContent = name; many.textContent = number(count);
    text.className = "text"; many.className = "muted";
    button.disabled = !current;
    button.append(key, text, many);
    button.addEventListener("click", () => label(k));
    return button;
  }));
  audio.hidden = !current;
  if (current && current.row !== before) {
    audio.src = `sound/${current.row}`;
    audio.play().catch(() => {}); // not allowed before the first key, or said by the error below
  } else if (!current) {
    audio.pause();
  }
}
function accuracyText(accuracy) {
  if (!accuracy) return "not known yet: hold on until some held-out sounds are labelled";
  const [estimate, low, high] = accuracy.map((share) => share === null ? null : (100 * share).toFixed(0));
  return `${estimate} %` + (low === null ? ", too few to tell" : `, ${low} to ${high} %`);
}
function label(k) {
  if (!state?.current || k >= state.classes.length) return;
  by("classes").children[k].classList.add("pressed");
  send("label", { row: state.current.row, name: state.classes[k].name });
}
async function explain() { // why a sound is not played
  if (!audio.getAttribute("src")) return;
  const answer = await fetch(audio.src);
  if (!answer.ok) by("error").textContent = `${(await answer.json()).error} Press 0 to skip it.`;
}

audio.addEventListener("error", explain);
by("undo").addEventListener("click", () => send("undo", {}));
by("skip").addEventListener("click", () => send("skip", {}));
by("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = by("new").value.trim();
  if (name) send("class", { name }).then(() => { by("new").value = ""; by("new").blur(); });
});
document.addEventListener("keydown", (event) => {
  if (event.target === by("new")) { if (event.key === "Escape") by("new").blur(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (key === " ") audio.paused ? audio.play().catch(() => {}) : audio.pause();
  else if (key === "backspace") send("undo", {});
  else if (key === "0") send("skip", {});
  else if (KEYS.includes(key)) label(KEYS.indexOf(key));
  else return;
  event.preventDefault();
});
send("state").then(() => { document.documentElement.dataset.ready = "yes"; });
