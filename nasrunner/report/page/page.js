// Rows are sorted, pictures enlarged, and what scrolls says so. The page is whole without.
"use strict";

for (const table of document.querySelectorAll("figure.table table")) {
  const heads = [...table.tHead.rows[0].cells];
  if (table.tBodies[0].rows.length < 2) continue;
  heads.forEach((head, place) => {
    head.dataset.can = "";
    head.tabIndex = 0;
    head.title = "sort";
    const sort = () => {
      const isDown = head.getAttribute("aria-sort") === "descending"
        || (!head.hasAttribute("aria-sort") && head.className !== "number");
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isDown ? "ascending" : "descending");
      const sign = isDown ? 1 : -1;
      const key = row => {
        const cell = row.cells[place];
        if (cell.dataset.sorts !== undefined) return Number(cell.dataset.sorts);
        return cell.textContent.trim() === "–" ? null : cell.textContent.trim();
      };
      const compare = (a, b) => {
        const [one, other] = [key(a), key(b)];
        if (one === null || other === null) return (one === null) - (other === null);
        if (typeof one === "number" && typeof other === "number") return sign * (one - other);
        return sign * String(one).localeCompare(String(other), "en", { numeric: true });
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}

const large = document.getElementById("large");
const view = large.querySelector(".view");
let width = 0;
for (const picture of document.querySelectorAll(".picture")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Enlarge";
  button.addEventListener("click", () => {
    const copy = picture.firstElementChild.cloneNode(true);
    const natural = copy.viewBox.baseVal;
    const fits = Math.min(
      window.innerWidth * 0.93 / natural.width, window.innerHeight * 0.85 / natural.height);
    width = natural.width * Math.max(1, Math.min(2, fits));
    copy.style.width = `${width}px`;
    view.replaceChildren(copy);
    large.showModal();
    view.scrollTo((view.scrollWidth - view.clientWidth) / 2, 0);
  });
  picture.after(button);
}
for (const button of large.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => {
    width = Math.min(20000, Math.max(120, width * Number(button.dataset.zoom)));
    view.firstElementChild.style.width = `${width}px`;
  });
}

const told = new Map();
const tell = () => {
  for (const box of document.querySelectorAll(".scroll, .picture")) {
    const isWide = box.scrollWidth > box.clientWidth + 1;
    const isHigh = box.scrollHeight > box.clientHeight + 1;
    const rows = box.querySelectorAll("tbody tr").length;
    const words = [isHigh ? "down" : "", isWide ? "sideways" : ""].filter(Boolean).join(" and ");
    if (!told.has(box)) {
      const hint = document.createElement("p");
      hint.className = "hint";
      box.before(hint);
      told.set(box, hint);
    }
    const count = rows ? `${rows.toLocaleString("en")} rows; ` : "";
    told.get(box).textContent = `${count}scrolls ${words}`;
    told.get(box).hidden = !words;
  }
};
tell();
window.addEventListener("resize", tell);
