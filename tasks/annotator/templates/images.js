// The images: one group at a time, either one image large and the others small, or many to be selected.

const view = { group: 0, several: false, current: null, selected: new Set() };
const tiles = new Map(); // image_id -> {pick, said} of the group on show

const groupNow = () => DATA.groups[view.group] || { title: "Nothing to answer", together: false, images: [] };
const idsOf = (group) => group.images.map((image) => image.image_id);
const unanswered = (group) => idsOf(group).filter((id) => !state.answers[id]);
const chosen = () => (view.several ? idsOf(groupNow()).filter((id) => view.selected.has(id)) : [view.current].filter(Boolean));
const reasons = (group) => new Set(group.images.map((image) => image.reason));
const numberOf = (image) => `Image ${image.rank + 1}`;

function answerText(answer) {
  if (!answer) return "";
  return answer.label ?? { discard: "discarded", unsure: "unsure" }[answer.verdict];
}

function show(place, several) {
  view.group = place;
  const group = groupNow();
  const left = unanswered(group);
  const inside = byId("tiles").contains(document.activeElement);
  view.several = several ?? (group.together && left.length > 1);
  view.selected = new Set(group.together ? left : []);
  view.current = left[0] ?? idsOf(group)[0] ?? null;
  build(group);
  refresh();
  scrollTo(0, 0);
  if (inside) focusCurrent();
}

function build(group) {
  tiles.clear();
  const differ = reasons(group).size > 1; // else the one reason stands above
  byId("tiles").replaceChildren(...group.images.map((image) => {
    const said = make("span", { className: "said" });
    const shown = make("img", { alt: "", src: image.src, decoding: "async", className: image.small ? "small" : "" });
    const pick = make("button", { type: "button", className: "pick", onclick: () => picked(image.image_id) }, shown);
    const look = make("button", { type: "button", className: "look", onclick: () => enlarge(image) }, glass());
    look.setAttribute("aria-label", `Enlarge ${numberOf(image).toLowerCase()}`);
    const mark = make("span", { className: "mark", textContent: "✓" });
    mark.setAttribute("aria-hidden", "true");
    tiles.set(image.image_id, { pick, said });
    const why = make("span", { className: "why", textContent: differ ? image.reason : "" });
    const text = make("div", { className: "text" }, said, why);
    return make("div", { className: "tile" }, pick, mark, make("div", { className: "below" }, text, look));
  }));
}

function glass() {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "path");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("width", "22");
  drawing.setAttribute("height", "22");
  drawing.setAttribute("aria-hidden", "true");
  line.setAttribute("d", "M10 4a6 6 0 1 0 0 12a6 6 0 1 0 0-12M14.5 14.5L20 20");
  line.setAttribute("fill", "none");
  line.setAttribute("stroke", "currentColor");
  line.setAttribute("stroke-width", "2");
  drawing.append(line);
  return drawing;
}

function picked(id) {
  view.current = id;
  if (view.several && !view.selected.delete(id)) view.selected.add(id);
  refresh();
}

function enlarge(image) {
  byId("enlarged").src = image.src;
  byId("enlarged").className = image.small ? "small" : "";
  byId("enlarged").alt = numberOf(image);
  byId("looked").textContent = `${numberOf(image)} · the model suggests ${image.suggested} · ${image.reason}`;
  byId("looking").showModal();
}

function move(step) {
  const ids = idsOf(groupNow());
  const place = ids.indexOf(view.current) + step;
  if (place < 0 || place >= ids.length) return;
  view.current = ids[place];
  refresh();
  tiles.get(view.current).pick.focus();
}

const focusCurrent = () => tiles.get(view.current)?.pick.focus({ preventScroll: true });

// to the next group that has something left, this one last
function onward() {
  const count = DATA.groups.length;
  for (let step = 1; step <= count; step++) {
    const place = (view.group + step) % count;
    if (!unanswered(DATA.groups[place]).length) continue;
    show(place);
    return focusCurrent();
  }
  refresh();
  byId("save").focus();
  return say("All images are answered. Save the answers.");
}

// the current one in the middle of the row
function scrollRow() {
  const tile = tiles.get(view.current)?.pick.parentElement;
  const row = byId("tiles");
  if (tile && !view.several) row.scrollLeft = tile.offsetLeft - row.offsetLeft - (row.clientWidth - tile.offsetWidth) / 2;
}

function refreshTiles() {
  for (const [id, { pick, said }] of tiles) {
    const image = IMAGES.get(id);
    const answer = state.answers[id];
    const pressed = view.several ? view.selected.has(id) : id === view.current;
    pick.setAttribute("aria-pressed", pressed);
    pick.tabIndex = id === view.current ? 0 : -1;
    pick.classList.toggle("answered", Boolean(answer));
    said.textContent = answer ? answerText(answer) : view.several ? `${image.suggested}?` : "";
    said.classList.toggle("done", Boolean(answer));
    const what = answer ? `answered ${answerText(answer)}` : `suggested ${image.suggested}, ${image.reason}`;
    pick.setAttribute("aria-label", `${numberOf(image)}, ${what}`);
  }
}

function refreshLarge() {
  const image = IMAGES.get(view.current);
  byId("large").hidden = !image;
  if (!image) return;
  if (byId("picture").src !== image.src) byId("picture").src = image.src;
  byId("picture").className = image.small ? "small" : "";
  byId("picture").alt = numberOf(image);
  const answer = state.answers[image.image_id];
  byId("caption").replaceChildren(
    make("strong", { textContent: numberOf(image) }),
    answer ? ` · answered: ${answerText(answer)}` : "",
    make("br"),
    make("span", { className: "soft", textContent: `The model suggests ${image.suggested} · ${image.reason}` }),
  );
}
