"use strict";
// Data, and the few helpers that every part uses. Text enters the page as text only.

const rw = { data: JSON.parse(document.getElementById("data").textContent) };

rw.$ = (id) => document.getElementById(id);

rw.fill = (node, names, children) => {
  for (const [name, value] of Object.entries(names)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

/** An HTML element with attributes and children (nodes or strings). */
rw.el = (tag, names = {}, ...children) =>
  rw.fill(document.createElement(tag), names, children);

/** The same for SVG. */
rw.svg = (tag, names = {}, ...children) =>
  rw.fill(document.createElementNS("http://www.w3.org/2000/svg", tag), names, children);

/** A number as people read it; as `numbers.py` does. */
rw.format = (value) => {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const digits = size < 10 ? 3 : size < 1000 ? 1 : 0;
  const tiny = size > 0 && size < 0.0005;
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  const text = tiny ? size.toExponential(0) : size.toLocaleString("en", options);
  return value < 0 ? `−${text}` : text;
};

rw.caseName = (item) => item.name + (item.rep ? ` #${item.rep}` : "");

/** The gravest level of a result: "error", "fail", "near" or "". */
rw.level = (result) => {
  if (!result) return "";
  const levels = result.r.map((reason) => reason[0]);
  return ["error", "fail", "near"].find((level) => levels.includes(level)) || "";
};

rw.failed = (result) => ["error", "fail"].includes(rw.level(result));

rw.levelWord = { error: "error", fail: "failed", near: "near miss", "": "passed" };

/** What became of a drive, in a word: its own, or that of its level. */
rw.word = (result) => (result && result.word) || rw.levelWord[rw.level(result)];

rw.seriesClass = (entry) => `series-${entry % 8}`;

/** Says that a table is one, also where a small screen stacks its cells. */
rw.keepTable = (table) => {
  const roles = { thead: "rowgroup", tbody: "rowgroup", tr: "row", td: "cell", "thead th": "columnheader", "tbody th": "rowheader" };
  table.setAttribute("role", "table");
  for (const [selector, role] of Object.entries(roles)) {
    for (const node of table.querySelectorAll(selector)) node.setAttribute("role", role);
  }
};

/** Options for a select of columns, the primary one chosen. */
rw.columnOptions = (select) => {
  const { columns, primary } = rw.data;
  const option = (column, i) => rw.el("option", { value: i, selected: i === primary }, column.label);
  const make = (wanted) => columns.map((c, i) => (c.headline === wanted ? option(c, i) : null));
  select.append(
    rw.el("optgroup", { label: "Headline" }, ...make(true)),
    rw.el("optgroup", { label: "Others" }, ...make(false)),
  );
};
