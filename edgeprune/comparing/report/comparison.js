// Sorts tables and shows what a point stands for. The page is whole without it.
"use strict";
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.k ?? cell.textContent.trim();
  };

  const compare = (one, other) => {
    const [a, b] = [Number(one), Number(other)];
    return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other, undefined, { numeric: true }) : a - b;
  };

  function sort(table, head, column) {
    const before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : head.dataset.first === "descending";
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: value(row, column) }));
    // Rows without a value come last, whichever way the others go.
    rows.sort((one, other) => {
      if (!one.key || !other.key) return Number(!one.key) - Number(!other.key);
      return (down ? -1 : 1) * compare(one.key, other.key);
    });
    body.append(...rows.map(({ row }) => row));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head, column));
    });
  }

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);

  const mark = (number, on) => {
    for (const part of document.querySelectorAll(`[data-v="${CSS.escape(number)}"]`)) part.classList.toggle("hot", on);
  };

  let shown = null;

  // Above its point, or below where there is no room, and never beyond the sides.
  function place() {
    if (shown === null) return;
    const at = shown.querySelector("use").getBoundingClientRect();
    const box = tip.getBoundingClientRect();
    const left = at.left + at.width / 2 - box.width / 2;
    const above = at.top - box.height - 10;
    tip.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - box.width - 8))}px`;
    tip.style.top = `${above > 0 ? above : at.bottom + 10}px`;
  }

  function hide() {
    if (shown !== null) mark(shown.dataset.v, false);
    shown = null;
    tip.hidden = true;
  }

  function show(point, lines) {
    hide();
    shown = point;
    mark(point.dataset.v, true);
    tip.replaceChildren(
      ...lines.map((line, number) => {
        const part = document.createElement(number ? "span" : "strong");
        part.textContent = number ? line : `${point.dataset.v} ${line}`;
        return part;
      }),
    );
    tip.hidden = false;
    place();
  }

  for (const point of document.querySelectorAll(".point[data-v]")) {
    const title = point.querySelector("title");
    const lines = title.textContent.split("\n");
    title.remove(); // the browser's own tooltip would cover this one
    point.addEventListener("pointerenter", () => show(point, lines));
    point.addEventListener("pointerleave", hide);
  }
  for (const row of document.querySelectorAll("tr[data-v]")) {
    row.addEventListener("pointerenter", () => mark(row.dataset.v, true));
    row.addEventListener("pointerleave", () => mark(row.dataset.v, false));
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("scroll", place, { passive: true, capture: true });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const part of closed) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
  });
})();
