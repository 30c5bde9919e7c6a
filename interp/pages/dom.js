// Elements, made without any markup: whatever a model wrote becomes a text node or an attribute, never HTML.

const SVG = "http://www.w3.org/2000/svg";
const DATA = JSON.parse(document.getElementById("data").textContent);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return element;
}

function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// A link to a file beside the report; paths come percent-encoded from the writer, or are encoded here.
function fileLink(path, text) {
  return path ? make("a", { href: path, class: "file" }, text || decodeURI(path)) : null;
}

function encodePath(...parts) {
  return parts.join("/").split("/").map(encodeURIComponent).join("/");
}

function source(...links) {
  const found = links.flat().filter(Boolean);
  const between = found.flatMap((link, place) => (place ? [", ", link] : [link]));
  return found.length ? make("p", { class: "source" }, "From ", ...between) : null;
}

function choice(label, options, value, onchange) {
  const select = make("select", { onchange: () => onchange(select.value) });
  for (const option of options) {
    const [key, text, title] = Array.isArray(option) ? option : [option, option];
    select.append(make("option", { value: key, title, selected: key === value }, text));
  }
  return make("label", { class: "field" }, make("span", {}, label), select);
}

function searchField(label, oninput) {
  const input = make("input", { type: "search", spellcheck: "false", oninput: () => oninput(input.value) });
  return make("label", { class: "field" }, make("span", {}, label), input);
}

function button(text, onclick, attributes) {
  return make("button", { type: "button", onclick, ...attributes }, text);
}

function section(id, title, ...children) {
  return make("section", { id, "aria-labelledby": `${id}-title` }, make("h2", { id: `${id}-title` }, title), ...children);
}

// Spreadsheets run cells that begin like a formula; text from models must not.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function saveCsv(name, header, rows) {
  const lines = [header, ...rows].map((row) => row.map(csvCell).join(","));
  const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  make("a", { href: url, download: `${name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
