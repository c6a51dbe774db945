"use strict";
// Everything on these pages can be read without this file. It keeps them live and adds keys.

// One stream for the page, and only while somebody looks at it: browsers allow few connections to one host.
let stream = null;
let patience = 1000;

function listen() {
  const topics = document.body.dataset.topics;
  if (!topics || stream || document.hidden) return;
  stream = new EventSource("/events?topics=" + topics);
  stream.onopen = () => {
    patience = 1000;
    document.body.dataset.stream = "live";
  };
  stream.onerror = () => {
    document.body.dataset.stream = "lost";
    if (stream && stream.readyState === EventSource.CLOSED) {
      hush();
      setTimeout(listen, patience);
      patience = Math.min(patience * 2, 30000);
    }
  };
  for (const topic of topics.split(",")) {
    const name = topic.split(".")[0];
    stream.addEventListener(name, () => {
      for (const place of document.querySelectorAll(`[data-live~="${name}"]`)) htmx.trigger(place, "changed");
    });
  }
}

function hush() {
  if (stream) stream.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
window.addEventListener("pagehide", hush);
window.addEventListener("pageshow", listen);

// Keys: never while somebody types.
const PLACES = { g: "/goals", a: "/approvals", c: "/costs", h: "/halts", d: "/dead", v: "/audit", i: "/decisions" };
let going = false;

function rows() {
  return [...document.querySelectorAll("[data-row]")];
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement);
  all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + step))].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog[open]")) return;
  const key = event.key;
  if (going) {
    going = false;
    const link = PLACES[key] && document.querySelector(`nav a[href="${PLACES[key]}"]`);
    if (link) link.click();
    return;
  }
  const named = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (key === "g") going = true;
  else if (key === "j") move(1);
  else if (key === "k") move(-1);
  else if (key === "?") document.getElementById("keys").showModal();
  else if (named) {
    const shut = named.closest("details:not([open])");
    if (shut) shut.open = true;
    named.focus();
    event.preventDefault();
  }
});

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

// A bundle may be dropped instead of chosen.
const drop = document.querySelector("[data-drop]");
if (drop) {
  const input = drop.querySelector("input[type=file]");
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    drop.requestSubmit();
  });
}

document.addEventListener("DOMContentLoaded", listen);
