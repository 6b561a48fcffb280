"use strict";
// Text from outside becomes text of elements, never markup; the token is kept in this variable alone.
let token = "";
const MOST_BARS = 20;
const at = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
}

function complain(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

async function begin() {
  const reply = await ask("openapi.json");
  at("entry").hidden = reply.status !== 401 && !token;
  if (!reply.ok) {
    complain(reply.status === 401 && !token ? "" : (await reply.json()).error.message);
    return;
  }
  complain("");
  const told = await reply.json();
  at("name").textContent = document.title = told.info.title;
  at("about").textContent = `${told.info.summary} · version ${told.info.version}`;
  at("target").textContent = told.info.summary.replace("Predicts ", "");
  draw(told.components.schemas.Row);
}

function draw(row) {
  at("fields").replaceChildren(...row.required.map((name, place) => field(name, row.properties[name], row.examples[0][name], place)));
  at("row").hidden = at("same").hidden = false;
  showCurl();
}

function field(name, kind, example, place) {
  const id = `field-${place}`;
  const isText = kind.contentMediaType === "text/plain";
  const tag = isText ? "textarea" : kind.type[0] === "boolean" ? "select" : "input";
  const input = make(tag, { id, name, autocomplete: "off", spellcheck: false });
  const parts = [make("label", { htmlFor: id, textContent: name }), input];
  const isFile = kind.contentEncoding === "base64";
  if (kind.type[0] === "boolean") {
    input.append(...["", "true", "false"].map((value) => make("option", { value, textContent: value })));
  } else if (kind.type[0] === "number") {
    input.inputMode = "decimal";
  } else if (isText) {
    input.rows = 6;
  } else if (isFile) {
    choose(input, parts, example);
  } else if (kind.type[0] === "array") {
    input.placeholder = "numbers with commas between them";
  } else {
    parts.push(make("datalist", { id: `${id}-known` }, ...kind.examples.map((value) => make("option", { value }))));
    input.setAttribute("list", `${id}-known`);
  }
  if (!isFile) input.value = Array.isArray(example) ? example.join(", ") : String(example);
  input.dataset.kind = kind.type[0];
  input.setAttribute("aria-describedby", `${id}-note ${id}-fault`);
  parts.push(make("small", { id: `${id}-note`, textContent: kind.description.replace("; null when it is missing", "") }));
  return make("div", {}, ...parts, make("small", { id: `${id}-fault`, className: "fault", hidden: true }));
}

// A file is kept as a data: URL, which is shown and sent; until one is chosen it is the example.
function choose(input, parts, example) {
  input.type = "file";
  input.accept = "image/*";
  const seen = make("img", { alt: `${input.name} that is sent`, src: `data:image/png;base64,${example}` });
  input.addEventListener("change", () => {
    if (!input.files.length) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      seen.src = reader.result;
      showCurl();
    });
    reader.readAsDataURL(input.files[0]);
  });
  parts.push(seen);
}

function value(input) {
  if (input.type === "file") return input.parentElement.querySelector("img").src;
  const text = input.value.trim();
  if (!text) return null;
  if (input.dataset.kind === "array") return text.split(/[,;\s]+/).filter(Boolean).map(number);
  if (input.dataset.kind === "boolean") return text === "true";
  return input.dataset.kind === "number" ? number(text) : text;
}

// What is no number goes as text, so that the server says what is wrong with it.
const number = (text) => (text === "null" ? null : Number.isFinite(Number(text)) ? Number(text) : text);

const inputs = () => [...at("fields").querySelectorAll("input, select, textarea")];
const body = () => JSON.stringify({ rows: [Object.fromEntries(inputs().map((input) => [input.name, value(input)]))] });

function showCurl() {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = [`curl ${quoted(new URL("predict", location.href).href)}`, "-H 'Content-Type: application/json'"];
  if (token) lines.push('-H "Authorization: Bearer $TOKEN"');
  const files = inputs().filter((input) => input.type === "file");
  if (files.length && inputs().length === 1) lines.splice(1, 1, "-H 'Content-Type: image/png'", "--data-binary @image.png");
  else lines.push(`-d ${quoted(body())}`);
  at("curl").textContent = lines.join(" \\\n  ");
}

function showFaults(rows) {
  for (const input of inputs()) {
    const found = rows.find((each) => each.column === input.name);
    const fault = at(`${input.id}-fault`);
    fault.textContent = found ? found.reason : "";
    fault.hidden = !found;
    if (found) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

function said(prediction) {
  if (typeof prediction === "number") {
    return [make("p", { className: "said", textContent: prediction.toLocaleString("en", { maximumSignificantDigits: 6 }) })];
  }
  const chances = Object.entries(prediction.probabilities).sort((a, b) => b[1] - a[1]).slice(0, MOST_BARS);
  const bars = chances.map(([name, chance]) => {
    const bar = make("div", { className: "bar" });
    bar.style.width = `${100 * chance}%`;
    const parts = [make("span", { textContent: name }), make("div", { className: "track" }, bar), make("span", { textContent: `${(100 * chance).toFixed(1)} %` })];
    return make("div", { className: name === prediction.class ? "chance best" : "chance" }, ...parts);
  });
  return [make("p", { className: "said", textContent: prediction.class }), ...bars];
}

async function predict() {
  const began = performance.now();
  const reply = await ask("predict", { method: "POST", headers: { "Content-Type": "application/json" }, body: body() });
  const told = await reply.json();
  const faults = reply.ok ? [] : told.error.rows;
  showFaults(faults);
  at("answer").hidden = !reply.ok;
  complain(reply.ok ? "" : told.error.message);
  if (reply.status === 401) at("entry").hidden = false;
  if (!reply.ok) return;
  at("prediction").replaceChildren(...said(told.predictions[0]));
  at("from").textContent = `version ${told.version} · ${Math.round(performance.now() - began)} ms · request ${reply.headers.get("X-Request-Id")}`;
}

async function guarded(work, button) {
  if (button) button.disabled = true;
  try {
    await work();
  } catch (error) {
    complain(`The server did not answer: ${error.message}`);
  } finally {
    if (button) button.disabled = false;
  }
}

at("row").addEventListener("input", showCurl);
at("row").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(predict, at("predict"));
});
at("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  guarded(begin);
});
guarded(begin);
