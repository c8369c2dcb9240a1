// What people do: answers, keys, dialogs.

function answer(verdict, label = null) {
  if (!annotator) return ask();
  const ids = chosen();
  if (!ids.length) return say("Select an image first.");
  record(ids, verdict, label, { group: view.group, several: view.several });
  byId("search").value = "";
  const left = unanswered(groupNow());
  say(`${ids.length === 1 ? numberOf(IMAGES.get(ids[0])) : `${ids.length} images`}: ${answerText({ verdict, label })}`);
  if (!left.length) return onward();
  if (view.several && groupNow().together) return show(view.group, false); // the exceptions, one at a time
  view.selected.clear();
  const order = idsOf(groupNow());
  const after = order.slice(order.indexOf(ids.at(-1)) + 1).find((id) => left.includes(id));
  view.current = after ?? left[0];
  refresh();
  return focusCurrent();
}

function undo() {
  const entry = takeBack();
  if (!entry) return say("There is nothing to undo.");
  const ids = entry.before.map(([id]) => id);
  show(entry.view.group, entry.view.several);
  view.current = ids[0];
  view.selected = new Set(ids);
  refresh();
  return say(ids.length === 1 ? "Taken back." : `${ids.length} answers taken back.`);
}

function refresh() {
  const group = groupNow();
  const ids = chosen();
  const done = Object.keys(state.answers).length;
  document.body.classList.toggle("several", view.several);
  byId("progress").max = Math.max(1, IMAGES.size);
  byId("progress").value = done;
  byId("count").textContent = `${done} of ${IMAGES.size} answered`;
  byId("undo").disabled = !state.undo.length;
  byId("who").textContent = annotator || "Name";
  byId("who").setAttribute("aria-label", annotator ? `You are ${annotator}: change` : "Say who you are");
  byId("save").textContent = state.unsaved || !done ? "Save answers" : "Saved ✓";
  byId("title").textContent = group.title;
  const place = DATA.groups.length > 1 ? `Group ${view.group + 1} of ${DATA.groups.length} · ` : "";
  const left = unanswered(group).length;
  const task = view.several && group.together && left ? " · tap the images that do not belong" : "";
  const why = view.several && reasons(group).size === 1 ? ` · ${group.images[0].reason}` : "";
  const images = group.images.length === 1 ? "1 image" : `${group.images.length} images`;
  byId("hint").textContent = `${place}${images}, ${left} left${why}${task}`;
  byId("before").hidden = byId("after").hidden = DATA.groups.length < 2;
  byId("one").setAttribute("aria-pressed", !view.several);
  byId("many").setAttribute("aria-pressed", view.several);
  byId("picking").hidden = !view.several;
  byId("target").textContent = targetText(ids);
  const name = suggestedFor(ids);
  byId("suggestion").hidden = !name;
  byId("suggestion").replaceChildren(make("span", {}, "Yes: ", make("strong", { textContent: name ?? "" })), make("kbd", { textContent: "y" }));
  refreshTiles();
  scrollRow();
  refreshLarge();
  refreshClasses();
}

function targetText(ids) {
  if (!ids.length) return view.several ? "Select the images to answer" : "";
  return ids.length === 1 ? `${numberOf(IMAGES.get(ids[0]))} is:` : `The ${ids.length} selected images are:`;
}

// what most of the images are thought to be
function suggestedFor(ids) {
  const counts = new Map();
  for (const id of ids) counts.set(IMAGES.get(id).suggested, (counts.get(IMAGES.get(id).suggested) ?? 0) + 1);
  const best = [...counts].sort((a, b) => b[1] - a[1])[0];
  return best && CLASSES.has(best[0]) ? best[0] : null;
}

const toGroup = (step) => show((view.group + step + DATA.groups.length) % DATA.groups.length);

function ask() {
  byId("annotator").value = annotator;
  byId("asking-problem").textContent = "";
  byId("asking").showModal();
}

byId("asking").addEventListener("submit", (event) => {
  const name = byId("annotator").value.trim().normalize("NFC");
  const problem = annotatorProblem(name);
  byId("asking-problem").textContent = problem;
  if (problem) return event.preventDefault();
  annotator = name;
  keep(NAME_KEY, annotator);
  beginAgain();
  return refresh();
});

byId("asking").addEventListener("close", focusCurrent);

const DOES = {
  y: () => suggestedFor(chosen()) && answerClass(suggestedFor(chosen())),
  d: () => answer("discard"),
  u: () => answer("unsure"),
  z: undo,
  g: () => show(view.group, !view.several),
  n: () => toGroup(1),
  p: () => toGroup(-1),
  v: () => view.current && enlarge(IMAGES.get(view.current)),
  "/": () => byId("search").focus(),
  "?": () => byId("helping").showModal(),
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
};

addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.altKey) return;
  const typing = event.target instanceof HTMLInputElement;
  const undoing = (event.ctrlKey || event.metaKey) && event.key === "z";
  if (typing || ((event.ctrlKey || event.metaKey) && !undoing)) return;
  const name = event.key.length === 1 ? state.keys[KEYS.indexOf(event.key)] : null;
  const known = name && (CLASSES.has(name) || newNames().includes(name));
  const act = known ? () => answerClass(name) : DOES[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

byId("search").addEventListener("input", refreshClasses);
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    event.target.value = "";
    refreshClasses();
    focusCurrent();
  }
  if (event.key !== "Enter" || event.isComposing || !event.target.value.trim()) return;
  event.preventDefault(); // else the dialog that opens takes it for a press of its first button
  const names = listed();
  if (names.length) answerClass(names[0]);
  else nameNew(event.target.value);
});

const ON = {
  undo, save, who: ask, discard: DOES.d, unsure: DOES.u, suggestion: DOES.y, before: DOES.p, after: DOES.n,
  help: DOES["?"], new: () => nameNew(byId("search").value),
  one: () => show(view.group, false), many: () => show(view.group, true),
  all: () => { view.selected = new Set(unanswered(groupNow())); refresh(); },
  none: () => { view.selected.clear(); refresh(); },
};
for (const [id, act] of Object.entries(ON)) byId(id).addEventListener("click", act);
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

addEventListener("beforeunload", (event) => { if (state.unsaved && !kept) event.preventDefault(); });
addEventListener("storage", (event) => { // the same page in another tab
  if (event.key !== KEY) return void (othersNames = namesOfOtherPages());
  Object.assign(state, restored());
  return refresh();
});

byId("pages").hidden = DATA.pages.length < 2;
byId("pages").append(...DATA.pages.map((href, place) =>
  place + 1 === DATA.page ? make("strong", { textContent: `page ${place + 1}` }) : make("a", { href, textContent: `${place + 1}` })));

new ResizeObserver(() => {
  document.documentElement.style.setProperty("--header", `${document.querySelector("header").offsetHeight}px`);
}).observe(document.querySelector("header"));

persist(); // says at once if this browser keeps nothing
show(Math.max(0, DATA.groups.findIndex((group) => unanswered(group).length)));
if (!annotator) ask();
