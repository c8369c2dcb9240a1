// Names of classes: what may be one, and which of those that exist are so alike that they are shown first.

const NEAR = 6; // names shown at most

function nameProblem(text) {
  if (!text) return "Type a name first.";
  if ([...text].length > DATA.longest) return `A name has at most ${DATA.longest} characters.`;
  text = text.replace(/(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])/gu, ""); // Persian and the scripts of India
  if (/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text)) return "A name has no line breaks or other control characters.";
  return "";
}

function classProblem(text) {
  if (text.toLowerCase() === DATA.unknown) return `No class is called “${text}”: choose Unsure if you cannot tell.`;
  return nameProblem(text);
}

function annotatorProblem(text) {
  if (DATA.reserved.includes(text)) return `“${text}” is a reserved word; take another name.`;
  return nameProblem(text);
}

// letters and digits alone, without case and accents: "Wild-Boar" and "wild boar" are one
function plain(text) {
  return text.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
}

const words = (text) => text.split(/[^\p{L}\p{M}\p{N}]+/u).map(plain).filter(Boolean);

// the least number of letters inserted, left out, exchanged or swapped with their neighbour
function distance(one, other) {
  const [a, b] = [[...one], [...other]];
  let [older, old] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(row[j - 1] + 1, old[j] + 1, old[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], older[j - 2] + 1);
    }
    [older, old] = [old, row];
  }
  return old[b.length];
}

// 0 for the same name but for case, accents and signs; Infinity for another one
function unlike(one, other) {
  const [a, b] = [plain(one), plain(other)];
  if (a === b) return a || one === other ? 0 : Infinity;
  const [few, many] = [words(one), words(other)].sort((mine, yours) => mine.length - yours.length);
  if (few.every((word) => many.includes(word)) && few.some((word) => word.length > 2)) return 1; // "boar", "wild boar"
  if (a.replace(/\P{N}/gu, "") !== b.replace(/\P{N}/gu, "")) return Infinity; // "type 1" is not "type 2"
  const most = Math.min(3, Math.floor(Math.max(a.length, b.length) / 4));
  const found = most ? distance(a, b) : Infinity;
  return found <= most ? found : Infinity;
}

function nearNames(text) {
  const all = [...CLASSES.values(), ...newNames().map((name) => ({ name, aliases: [] }))];
  return all
    .map((one) => ({ name: one.name, far: Math.min(...[one.name, ...one.aliases].map((name) => unlike(text, name))) }))
    .filter((one) => one.far < Infinity)
    .sort((a, b) => a.far - b.far || (a.name < b.name ? -1 : 1))
    .slice(0, NEAR)
    .map((one) => one.name);
}

// the class that is called exactly so, by its name or an alias
function classCalled(text) {
  if (CLASSES.has(text) || newNames().includes(text)) return text;
  const found = DATA.classes.find((one) => one.aliases.includes(text));
  return found ? found.name : null;
}
