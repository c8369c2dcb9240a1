// The table that `oltr annotate import` takes: a row per image of this page.

// what Python's \s is, so that both sides agree on which cells a spreadsheet would execute
const FORMULA = /^'*[ \t\n\r\f\v\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*[=+\-@\t\r]/;

const defused = (cell) => (typeof cell === "string" && FORMULA.test(cell) ? `'${cell}` : cell);

function cellOf(value) {
  const text = String(defused(value) ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function tableText() {
  const rows = [...IMAGES.values()].map((image) => {
    const row = { ...image, ...state.answers[image.image_id] };
    return DATA.columns.map((column) => cellOf(row[column])).join(",");
  });
  // the mark at the beginning tells a spreadsheet that this is UTF-8
  return `\ufeff${[DATA.columns.join(","), ...rows].join("\n")}\n`;
}

function fileName() {
  const who = annotator.normalize("NFC").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40).replace(/^-|-$/g, "");
  return `${DATA.batch}-${who || "someone"}-${state.session}.csv`;
}

function saved(text) {
  state.unsaved = false;
  persist();
  refresh();
  say(text, true); // where the file is and belongs
}

function download() {
  const address = URL.createObjectURL(new Blob([tableText()], { type: "text/csv;charset=utf-8" }));
  const link = make("a", { href: address, download: fileName() });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  const where = DATA.inbox ? ` Put it into the folder ${DATA.inbox} of the workspace.` : "";
  saved(`Saved ${fileName()} among your downloads.${where}`);
}

async function send() {
  const name = fileName();
  try {
    const answer = await fetch(DATA.post + encodeURIComponent(name), {
      method: "POST", headers: { "Content-Type": "text/csv" }, body: tableText(),
    });
    const said = await answer.text();
    if (answer.ok) saved(said);
    else say(`Not saved: ${said}`);
  } catch {
    say("Not saved: `oltr annotate open` does not run any more. Start it again, open the page it names, or reload.");
  }
}

function save() {
  if (!Object.keys(state.answers).length) say("There is no answer to save yet.");
  else if (DATA.post) send();
  else download();
}
