"use strict";
// tables are sorted by the buttons that their headings become, and searched by their first column
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0], rows = [...body.rows];
  const values = (column) => {
    const numeric = heads[column].classList.contains("n");
    return new Map(rows.map((row) => {
      const text = row.cells[column].textContent.trim();
      return [row, numeric ? parseFloat(text) : text];
    }));
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n"), now = head.getAttribute("aria-sort");
      const down = now ? now === "ascending" : numeric;
      const of = values(column), sign = down ? -1 : 1;
      const compare = numeric
        ? (a, b) => isNaN(a) - isNaN(b) || sign * (a - b) || 0 // what is no number comes last
        : (a, b) => sign * a.localeCompare(b, "en", { numeric: true });
      rows.sort((a, b) => compare(of.get(a), of.get(b)));
      body.append(...rows);
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
  if (rows.length > 12) {
    const find = document.createElement("p"), label = document.createElement("label");
    const input = document.createElement("input"), found = document.createElement("output");
    find.className = "find";
    input.type = "search";
    label.append(`Search ${heads[0].textContent}: `, input);
    find.append(label, " ", found);
    table.parentElement.before(find);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      found.textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
    });
  }
}

// what is wider than the window can be scrolled by keys
const reach = () => {
  for (const wide of document.querySelectorAll(".wide")) {
    const scrolls = wide.scrollWidth > wide.clientWidth;
    const name = wide.querySelector("caption, title")?.textContent;
    for (const [key, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", name]]) {
      if (scrolls) wide.setAttribute(key, value);
      else wide.removeAttribute(key);
    }
  }
};
for (const event of ["load", "resize"]) addEventListener(event, reach);
document.addEventListener("toggle", reach, true);

// paper has no folds
const folded = new Set();
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    folded.add(details);
    details.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const details of folded) details.open = false;
  folded.clear();
});
