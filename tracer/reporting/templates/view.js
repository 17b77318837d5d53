// The page of `tracer view`. Texts of the data come into the document through `make`, always as text.
"use strict";

const HEIGHT = 52; // of a row of the list
const SVG = "http://www.w3.org/2000/svg";
const FILTERS = { planner: "planner", kind: "where", agent: "agent", task: "task", verdict: "verdict", wrong: "first wrong step" };
const state = { films: [], shown: [], open: -1, turn: 0, beside: "", numbered: 0, pairs: new Map(), loaded: new Map(), wanted: new Set() };

const at = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// What the data's scripts call.
const tracer = {
  list(text) {
    const { title, films } = JSON.parse(text);
    state.films = films;
    at("title").textContent = title;
    films.forEach((film, number) => {
      const key = pair(film);
      if (!state.pairs.has(key)) state.pairs.set(key, new Map());
      state.pairs.get(key).set(film.planner, number);
    });
    filters();
    select();
    follow();
  },
  film(text) {
    const film = JSON.parse(text);
    state.loaded.set(film.number, film);
    if (state.loaded.size > 200) state.loaded.delete(state.loaded.keys().next().value);
    state.wanted.delete(film.number);
    draw();
  },
};
window.tracer = tracer;

const pair = (film) => JSON.stringify([film.kind, film.case]);
const wrongText = (film) => (film.wrong === null || film.wrong === undefined ? "none" : String(film.wrong));
const valueOf = (film, name) => (name === "wrong" ? wrongText(film) : film[name]) || "none";

function filters() {
  const form = at("filters");
  const search = make("input", { type: "search", name: "search", placeholder: "search goals and cases", "aria-label": "Search goals and cases", oninput: select });
  form.append(search);
  for (const [name, title] of Object.entries(FILTERS)) {
    const values = [...new Set(state.films.map((film) => valueOf(film, name)))];
    values.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const options = values.map((value) => make("option", { value }, value.replaceAll("_", " ")));
    form.append(make("label", {}, title, make("select", { name, onchange: select }, make("option", { value: "" }, "all"), ...options)));
  }
  form.addEventListener("submit", (event) => event.preventDefault());
}

function select() {
  const given = Object.fromEntries(new FormData(at("filters")));
  const words = given.search.toLowerCase();
  state.shown = [];
  state.films.forEach((film, number) => {
    if (Object.keys(FILTERS).some((name) => given[name] && valueOf(film, name) !== given[name])) return;
    if (words && !`${film.goal} ${film.case}`.toLowerCase().includes(words)) return;
    state.shown.push(number);
  });
  const good = state.shown.filter((number) => ["solved", "right"].includes(state.films[number].verdict)).length;
  at("count").textContent = `${state.shown.length} of ${state.films.length} films, ${good} solved or right`;
  at("rows").style.height = `${state.shown.length * HEIGHT}px`;
  at("list").scrollTop = 0;
  rows();
}

// Only the rows in sight are in the document.
function rows() {
  const list = at("list");
  const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 5);
  const last = Math.min(state.shown.length, first + Math.ceil(list.clientHeight / HEIGHT) + 10);
  const found = [];
  for (let place = first; place < last; place += 1) {
    const number = state.shown[place];
    const film = state.films[number];
    const good = ["solved", "right"].includes(film.verdict);
    const row = make(
      "button",
      { class: "item", type: "button", "aria-current": number === state.open, onclick: () => open(number) },
      make("b", {}, make("i", { class: good ? "good" : "bad" }, good ? "✓ " : "✗ "), film.task),
      make("span", {}, [film.planner, film.verdict.replaceAll("_", " ") + (wrongText(film) === "none" ? "" : ` at ${film.wrong}`), film.agent || film.kind, `${film.turns} turns`].join(" · ")),
    );
    row.style.top = `${place * HEIGHT}px`;
    found.push(row);
  }
  at("rows").replaceChildren(...found);
}

function open(number, quiet = false) {
  if (number === undefined) return draw();
  state.open = number;
  state.turn = 0;
  state.numbered = 0;
  if (!quiet) history.replaceState(null, "", `#${encodeURIComponent(state.films[number].id)}`);
  const place = state.shown.indexOf(number);
  const list = at("list");
  if (place >= 0 && (place * HEIGHT < list.scrollTop || (place + 1) * HEIGHT > list.scrollTop + list.clientHeight)) list.scrollTop = place * HEIGHT - list.clientHeight / 2;
  rows();
  draw();
}

// An address such as #online%2Fstage2%2Fanticipatory%2Flogin-user%2F9000&turn=3.
function follow() {
  const [id, turn] = location.hash.slice(1).split("&turn=");
  const named = state.films.findIndex((film) => film.id === decodeURIComponent(id));
  open(named >= 0 ? named : state.shown[0], true);
  if (named >= 0 && turn) state.numbered = Number(turn);
  draw();
}

function load(number) {
  if (state.loaded.has(number)) return state.loaded.get(number);
  if (!state.wanted.has(number)) {
    state.wanted.add(number);
    const script = make("script", { src: `films/${number}.js`, onload: () => script.remove(), onerror: () => tracer.film(JSON.stringify({ number, goal: "", reason: "This film could not be loaded: is `tracer view` still running?", turns: [] })) });
    document.head.append(script);
  }
  return null;
}

function draw() {
  const main = at("main");
  if (state.open < 0) return main.replaceChildren(make("p", { class: "note" }, "No film is selected."));
  const entry = state.films[state.open];
  const film = load(state.open);
  const others = [...state.pairs.get(pair(entry))].filter(([planner]) => planner !== entry.planner);
  const partner = others.find(([planner]) => planner === state.beside);
  const second = partner === undefined ? null : load(partner[1]);
  if (film === null || (partner !== undefined && second === null)) return undefined; // what is shown stays until then
  if (state.numbered) state.turn = Math.max(0, film.turns.findIndex((turn) => turn.number === state.numbered));
  state.numbered = 0;
  const length = Math.max(film.turns.length, second ? second.turns.length : 0);
  state.turn = Math.min(state.turn, Math.max(0, length - 1));
  const options = others.map(([planner]) => make("option", { value: planner }, planner));
  const choice = make("select", { onchange: (event) => { state.beside = event.target.value; draw(); } }, make("option", { value: "" }, "nothing"), ...options);
  choice.value = partner === undefined ? "" : state.beside;
  const turns = Array.from({ length }, (_, turn) => make("button", { type: "button", class: `turn${off(film.turns[turn]) ? " off" : ""}`, "aria-current": turn === state.turn, "aria-label": `turn ${turn + 1}${off(film.turns[turn]) ? ", went wrong" : ""}`, onclick: () => step(turn) }, String(film.turns[turn]?.number ?? turn + 1)));
  main.replaceChildren(
    make("h2", {}, film.goal || entry.task),
    make("p", { class: "where" }, [entry.task, entry.agent, entry.split, entry.case].filter(Boolean).join(" · ")),
    make("div", { class: "bar" }, ...turns, others.length ? make("label", {}, "beside", choice) : null),
    make("div", { class: "films" }, pane(film, entry, partner === undefined), second ? pane(second, state.films[partner[1]], false) : null),
    make("p", { class: "note" }, make("kbd", {}, "←"), " ", make("kbd", {}, "→"), " turns, ", make("kbd", {}, "j"), " ", make("kbd", {}, "k"), " films, ", make("kbd", {}, "/"), " search. Green discs came true, red squares did not, blue ones have nothing to be held to; the amber ring is what was executed, the dashed box what the demonstration aimed at."),
  );
  return undefined;
}

const off = (turn) => turn !== undefined && (!turn.changed || turn.outcome === "wrong" || (turn.outcome !== "" && turn.outcome !== "solved" && turn.outcome !== "right"));

function step(turn) {
  state.turn = turn;
  draw();
  document.querySelector(".turn[aria-current=true]")?.focus({ preventScroll: true });
}

function pane(film, entry, alone) {
  const turn = film.turns[state.turn];
  const title = make("h2", {}, entry.planner, make("span", { class: ["solved", "right"].includes(entry.verdict) ? "good" : "bad" }, ` ${entry.verdict.replaceAll("_", " ")}`));
  if (turn === undefined) {
    return make("section", { class: "film" }, title, make("p", { class: "note" }, film.turns.length ? `It ended after ${film.turns.length} turns: ${film.reason}` : film.reason || "No trace was kept of this film."));
  }
  return make("section", { class: alone ? "film one" : "film" }, title, screen(film, turn), told(turn));
}

function told(turn) {
  const steps = turn.steps.map((each, index) => make("li", {}, make("span", { class: `badge ${each.came}` }, String(index + 1)), make("span", {}, each.text, each.point ? "" : make("small", { class: "note" }, " (without a place)")), make("small", { class: each.came === true ? "good" : each.came === false ? "bad" : "note" }, { true: "✓ came true", false: "✗ did not" }[each.came] || "")));
  const facts = [turn.seconds === undefined ? "" : `${turn.seconds} s`, turn.tokens === undefined ? "" : `${turn.tokens} tokens`, turn.calls > 1 ? `asked ${turn.calls} times` : "", turn.changed ? "" : "changed nothing on the screen", turn.note || "", ...Object.entries(turn.scores || {}).map(([name, value]) => `${name} ${Number(value.toFixed(3))}`)];
  return make(
    "div", {},
    make("h3", {}, "Forecast"), steps.length ? make("ol", {}, ...steps) : make("p", { class: "note" }, turn.answer ? `No forecast: ${turn.error || "the answer is empty"}` : "The agent went on with an earlier forecast."),
    make("h3", {}, "Executed"), make("p", { class: "acting" }, turn.executed ? turn.executed.text : "nothing", turn.executed ? make("small", { class: "note" }, ` ${turn.executed.action}`) : ""),
    turn.outcome ? make("p", { class: off(turn) ? "bad" : "good" }, turn.outcome) : null,
    make("p", { class: "note" }, facts.filter(Boolean).join(" · ")),
    ...(turn.reference ? [make("h3", {}, "Really done"), make("ol", {}, ...turn.reference.map((each, index) => make("li", {}, make("span", { class: "badge past" }, String(index + 1)), make("span", {}, each.text))))] : []),
    turn.reward ? reward(turn.reward) : null,
    folded("Raw answer", turn.answer + (turn.error ? `\n\n${turn.error}` : ""), true),
    folded("Prompt", turn.prompt, false),
  );
}

function reward(earned) {
  const short = (value) => value.toFixed(3);
  const head = make("tr", {}, ...["step", "discount", "similarity", "repetition"].map((name) => make("th", { scope: "col" }, name)));
  const lines = earned.steps.map((each, index) => make("tr", {}, make("th", { scope: "row" }, String(index + 1)), ...[each.discount, each.similarity, each.repetition].map((value) => make("td", {}, short(value)))));
  const sum = Object.entries(earned.parts).map(([name, value]) => `${name} ${short(value)}`).join(", ");
  return make("details", {}, make("summary", {}, `Reward: ${sum}`), make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
}

function folded(title, text, unfolded) {
  return text ? make("details", unfolded ? { open: "" } : {}, make("summary", {}, title), make("pre", { tabindex: "0" }, text)) : null;
}

function screen(film, turn) {
  const width = 480;
  const height = turn.width ? Math.round((width * turn.height) / turn.width) : 300;
  const place = ([x, y]) => [x * width, y * height];
  const marks = [];
  if (turn.target) {
    const [left, top] = place(turn.target);
    const [right, bottom] = place(turn.target.slice(2));
    marks.push(make("svg:rect", { class: "target", x: left, y: top, width: right - left, height: bottom - top }));
  }
  const placed = turn.steps.map((each, index) => ({ each, index })).filter(({ each }) => each.point);
  const points = [];
  placed.forEach(({ each }) => points.push(free(place(each.point), points, width, height)));
  const way = points.map((point) => point.join(",")).join(" ");
  if (points.length > 1) marks.push(make("svg:polyline", { class: "under", points: way }), make("svg:polyline", { class: "way", points: way }));
  if (turn.executed && turn.executed.point) {
    const [x, y] = place(turn.executed.point);
    marks.push(make("svg:circle", { class: "acted", cx: x, cy: y, r: 20 }));
  }
  placed.forEach(({ each, index }, number) => {
    const [x, y] = points[number];
    const kind = each.came === true ? "true" : each.came === false ? "false" : "open";
    marks.push(kind === "false" ? make("svg:rect", { class: `mark ${kind}`, x: x - 12, y: y - 12, width: 24, height: 24, rx: 5 }) : make("svg:circle", { class: `mark ${kind}`, cx: x, cy: y, r: 13 }), make("svg:text", { x, y }, String(index + 1)));
  });
  const source = turn.screen ? (film.pictures && film.pictures[turn.screen]) || `screens/${turn.screen}` : null;
  const below = source ? make("img", { src: source, alt: "the screen that the planner saw" }) : make("svg:svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const label = `forecast: ${turn.steps.map((each, index) => `${index + 1}. ${each.text}`).join("; ") || "none"}`;
  return make("div", { class: "screen" }, below, make("svg:svg", { class: "marks", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...marks));
}

// Marks at one place stand beside each other.
function free([x, y], taken, width, height) {
  for (let turn = -1; turn < 16; turn += 1) {
    const ring = turn < 0 ? 0 : 26 * (1 + Math.floor(turn / 8));
    const found = [x + ring * Math.cos((turn * Math.PI) / 4), y + ring * Math.sin((turn * Math.PI) / 4)];
    const inside = [Math.min(Math.max(found[0], 13), width - 13), Math.min(Math.max(found[1], 13), height - 13)];
    if (taken.every((other) => Math.hypot(other[0] - inside[0], other[1] - inside[1]) >= 22)) return inside;
  }
  return [x, y];
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  const place = state.shown.indexOf(state.open);
  const keys = {
    ArrowRight: () => step(state.turn + 1),
    ArrowLeft: () => step(Math.max(0, state.turn - 1)),
    j: () => open(state.shown[Math.min(place + 1, state.shown.length - 1)]),
    k: () => open(state.shown[Math.max(place - 1, 0)]),
    "/": () => at("filters").elements.search.focus(),
  };
  if (keys[event.key] === undefined) return;
  event.preventDefault();
  keys[event.key]();
});
at("list").addEventListener("scroll", rows);
window.addEventListener("resize", rows);
window.addEventListener("hashchange", follow);
