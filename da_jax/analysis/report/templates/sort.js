"use strict";
// Clicking a heading of a sortable table sorts its rows; clicking again reverses them.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return headings[column].dataset.kind === "number" ? parseFloat(text) : text;
  };
  const isMissing = (value) => value === "–" || value === "" || Number.isNaN(value);
  const compare = (one, two) =>
    typeof one === "number" ? one - two : one.localeCompare(two, undefined, { numeric: true });
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const ascends = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", ascends ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        const [one, two] = [key(a, column), key(b, column)];
        if (isMissing(one) || isMissing(two)) return isMissing(one) - isMissing(two);
        return ascends ? compare(one, two) : compare(two, one);
      });
      body.append(...rows);
    });
  });
}
