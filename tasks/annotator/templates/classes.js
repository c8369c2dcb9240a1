// The classes: a button each, those with a key first, found by any part of their name.

const SHOWN = 60; // buttons at most; the others are found by searching
const KEYS = "1234567890";

function listed() {
  const keyed = state.keys.filter((name) => name && (CLASSES.has(name) || newNames().includes(name)));
  const rest = newNames().concat([...CLASSES.keys()]).filter((name) => !keyed.includes(name));
  const text = plain(byId("search").value);
  const found = [...keyed, ...rest].filter((name) =>
    [name, ...(CLASSES.get(name)?.aliases ?? [])].some((word) => plain(word).includes(text)));
  if (!text) return found;
  const begins = (name) => (plain(name) === text ? 0 : plain(name).startsWith(text) ? 1 : 2);
  return found.sort((a, b) => begins(a) - begins(b)); // stable: keys stay first among equals
}

function about(name) {
  const one = CLASSES.get(name);
  if (!one) return "new in this session";
  const aliases = one.aliases.length ? `also ${one.aliases.join(", ")} · ` : "";
  return `${aliases}${one.images} training ${one.images === 1 ? "image" : "images"}`;
}

// of a class named in this session, the images that were given its name
function examplesOf(name) {
  const one = CLASSES.get(name);
  if (one) return one.examples.map(([, address]) => address);
  const mine = [...IMAGES.values()].filter((image) => state.answers[image.image_id]?.label === name);
  return mine.slice(0, 3).map((image) => image.src);
}

function classButton(name, onclick) {
  const pictures = examplesOf(name).map((src) => make("img", { src, alt: "" }));
  const examples = make("span", { className: "examples" }, ...(pictures.length ? pictures : [make("span", { className: "nothing" })]));
  const text = make("span", { className: "name" }, name, make("small", { textContent: about(name) }));
  const place = state.keys.indexOf(name);
  const key = place >= 0 ? [make("kbd", { textContent: KEYS[place] })] : [];
  return make("button", { type: "button", className: "class", onclick, title: name }, examples, text, ...key);
}

function refreshClasses() {
  const names = listed();
  const text = byId("search").value.trim();
  const pictured = names.map((name) => [name, CLASSES.has(name) || examplesOf(name).length]);
  const shape = JSON.stringify([text, pictured, state.keys]);
  if (shape !== refreshClasses.shape) byId("classes").replaceChildren(...names.slice(0, SHOWN).map((name) => classButton(name, () => answerClass(name))));
  refreshClasses.shape = shape;
  if (text && names.length) byId("classes").firstChild.classList.add("first");
  byId("more").textContent = names.length > SHOWN ? `and ${names.length - SHOWN} more: search for them` : "";
  byId("new").hidden = !text || classCalled(text) !== null;
  byId("new").textContent = `New class “${text}”…`;
}

// a name is given to a new class only after those that are like it were shown
function nameNew(text) {
  const name = text.trim().normalize("NFC");
  const problem = classProblem(name);
  if (problem) return say(problem);
  if (classCalled(name) !== null) return answerClass(classCalled(name));
  if (!chosen().length) return say("Select an image first.");
  const near = nearNames(name);
  if (!near.length) return answer("new_class", name);
  byId("naming-title").textContent = `Is “${name}” one of these?`;
  byId("near").replaceChildren(...near.map((one) => classButton(one, () => { byId("naming").close(); answerClass(one); })));
  byId("born").textContent = `No: new class “${name}”`;
  byId("born").onclick = () => { byId("naming").close(); answer("new_class", name); };
  byId("naming").showModal();
  return undefined;
}

const answerClass = (name) => answer(CLASSES.has(name) ? "label" : "new_class", name);
