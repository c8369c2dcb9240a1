// Answers, kept in the browser under a key of workspace and batch, with undo and the time each took.

const PREFIX = `oltr/${DATA.workspace}/${DATA.batch}/`;
const KEY = PREFIX + DATA.digest; // of the images of this page
const NAME_KEY = "oltr-annotator";
const PAUSE = 60; // seconds: of a longer pause only these count

const hex = () => [...crypto.getRandomValues(new Uint8Array(4))].map((n) => n.toString(16).padStart(2, "0")).join("");
const fresh = () => ({ session: hex(), answers: {}, keys: DATA.keys, undo: [], unsaved: false });

function stored(key) {
  try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
}

function restored() {
  const found = { ...fresh(), ...stored(KEY) };
  found.answers = Object.fromEntries(Object.entries(found.answers).filter(([id]) => IMAGES.has(id)));
  return found;
}

const state = restored();
let annotator = typeof stored(NAME_KEY) === "string" ? stored(NAME_KEY) : "";
let othersNames = namesOfOtherPages();

function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch { return false; }
}

// of batches that were saved, if there is no room left
function makeRoom() {
  try {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith("oltr/") && key !== KEY && !(stored(key) || { unsaved: true }).unsaved) localStorage.removeItem(key);
    }
  } catch { /* a browser that keeps nothing has nothing to remove */ }
}

let kept = true;

function persist() {
  kept = keep(KEY, state);
  if (!kept) makeRoom();
  kept = kept || keep(KEY, state);
  byId("warning").hidden = kept;
  byId("warning").textContent = "This browser does not keep answers: save them before you close this page.";
}

// the other pages of a batch of thousands, and other people's turns at it in this browser
function namesOfOtherPages() {
  let found = [];
  try { found = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX) && key !== KEY); } catch { /* none */ }
  return found.flatMap((key) => namesIn((stored(key) || {}).answers || {}));
}

function namesIn(answers) {
  return Object.values(answers).filter((answer) => answer.verdict === "new_class").map((answer) => answer.label);
}

// in the order in which they were given
function newNames() {
  return [...new Set([...othersNames, ...namesIn(state.answers)])].filter((name) => !CLASSES.has(name));
}

// --- time
let last = performance.now();
let spent = 0;

function beginAgain() {
  last = performance.now();
  spent = 0;
}

function tick() {
  const now = performance.now();
  spent += Math.min((now - last) / 1000, PAUSE);
  last = now;
}

for (const kind of ["pointerdown", "keydown", "scroll"]) addEventListener(kind, tick, { passive: true, capture: true });
document.addEventListener("visibilitychange", () => {
  if (document.hidden) tick();
  else last = performance.now();
});

// --- answers
function record(ids, verdict, label, view) {
  tick();
  const seconds = Math.round((100 * spent) / ids.length) / 100;
  spent = 0;
  state.undo.push({ before: ids.map((id) => [id, state.answers[id] || null]), view });
  const answer = { verdict, label, annotator, answered_at: new Date().toISOString(), seconds };
  for (const id of ids) state.answers[id] = answer;
  if (verdict === "new_class" && !state.keys.includes(label)) giveKey(label);
  state.unsaved = true;
  persist();
}

function takeBack() {
  const entry = state.undo.pop();
  if (!entry) return null;
  for (const [id, answer] of entry.before) {
    if (answer) state.answers[id] = answer;
    else delete state.answers[id];
  }
  state.unsaved = true;
  persist();
  return entry;
}

// a key that nobody has, or the last one whose class was not used
function giveKey(name) {
  const used = new Set(Object.values(state.answers).map((answer) => answer.label));
  const free = state.keys.findIndex((key) => !key || !(CLASSES.has(key) || used.has(key)));
  const place = free >= 0 ? free : state.keys.findLastIndex((key) => !used.has(key));
  if (place >= 0) state.keys = state.keys.with(place, name);
}
