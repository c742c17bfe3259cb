// Sort a table by a click on a column header, and filter its rows by text. Without this script, tables are static.
"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  for (const [column, header] of [...table.tHead.rows[0].cells].entries()) {
    header.querySelector("button").addEventListener("click", () => {
      const falls = header.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", falls ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.key;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        const order = x !== "" && y !== "" && !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y);
        return falls ? -order : order;
      });
      body.append(...rows);
    });
  }
}
for (const field of document.querySelectorAll("input[data-filter]")) {
  field.addEventListener("input", () => {
    const word = field.value.toLowerCase();
    for (const row of document.getElementById(field.dataset.filter).tBodies[0].rows) {
      row.hidden = !row.textContent.toLowerCase().includes(word);
    }
  });
}
