// A table whose cells are walked with the arrow keys, Home and End; Enter, the space bar or a click opens one.

const GRID_CELL = "td[role=gridcell]";

function walkable(grid, open) {
  grid.addEventListener("keydown", (event) => walk(event, open));
  grid.addEventListener("click", (event) => { const cell = event.target.closest(GRID_CELL); if (cell) open(cell); });
}

function walk(event, open) {
  const cell = event.target.closest(GRID_CELL);
  if (!cell) return;
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(cell); return; }
  const row = cell.parentElement;
  const at = [...row.cells].indexOf(cell);
  const next = {
    ArrowLeft: () => row.cells[Math.max(at - 1, 1)],
    ArrowRight: () => row.cells[at + 1],
    ArrowUp: () => row.previousElementSibling && row.previousElementSibling.cells[at],
    ArrowDown: () => row.nextElementSibling && row.nextElementSibling.cells[at],
    Home: () => row.cells[1],
    End: () => row.cells[row.cells.length - 1],
  }[event.key];
  if (!next) return;
  event.preventDefault();
  focusCell(cell, next());
}

function focusCell(from, to) {
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

// Colour by how far: -1 … 1 of the way to the far end below or above.
function tint(element, share) {
  element.style.setProperty("--share", `${Math.round(Math.abs(share) * 100)}%`);
  element.classList.add("tinted", share < 0 ? "below" : "above");
}
