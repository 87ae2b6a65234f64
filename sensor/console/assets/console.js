// Keys for people who work through a list. Pages are complete without this file.
"use strict";
(() => {
  const pages = { i: "/", c: "/coverage", b: "/bans", s: "/services", d: "/destinations", e: "/derogations", n: "/candidates", a: "/audit", h: "/health" };
  let after = "";
  const rows = () => [...document.querySelectorAll("tr[data-row]")];
  const opener = (row) => row && row.querySelector("a.open");
  const here = () => rows().findIndex((row) => row.contains(document.activeElement));
  const follow = (key) => {
    const link = document.querySelector(`a[data-key="${key}"]`);
    if (link) { link.click(); return true; }
    return false;
  };
  const move = (by) => {
    const all = rows();
    if (!all.length) { return; }
    const at = here();
    const to = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    const link = opener(all[to]);
    if (link) { link.focus(); all[to].scrollIntoView({ block: "nearest" }); }
  };
  const copy = () => {
    const text = document.querySelector("textarea.ticket");
    if (!text) { return; }
    const details = text.closest("details");
    details.open = true;
    text.focus();
    text.select();
    if (navigator.clipboard) { navigator.clipboard.writeText(text.value).catch(() => {}); }
  };
  const act = {
    "j": () => follow("j") || move(1),
    "k": () => follow("k") || move(-1),
    "o": () => { const link = opener(rows()[here()]); if (link) { link.click(); } },
    "u": () => follow("u"),
    "r": () => follow("r") || location.reload(),
    "e": () => { const button = document.querySelector('button[data-key="e"]'); if (button) { button.click(); } },
    "n": () => { const note = document.querySelector('textarea[data-key="n"]'); if (note) { note.focus(); } },
    "c": copy,
    "/": () => { const field = document.getElementById("q"); if (field) { field.focus(); } },
    "?": () => { location.assign("/keys"); },
  };
  document.addEventListener("keydown", (event) => {
    if (document.body.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey) { return; }
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
      if (event.key === "Escape") { event.target.blur(); }
      return;
    }
    if (after === "g") {
      after = "";
      if (pages[event.key]) { event.preventDefault(); location.assign(pages[event.key]); }
      return;
    }
    if (event.key === "g") { after = "g"; setTimeout(() => { after = ""; }, 1500); return; }
    if (act[event.key]) { event.preventDefault(); act[event.key](); }
  });
})();
