import htmx from "htmx.org/dist/htmx.esm.js";

// The Content-Security-Policy allows neither inline styles nor code from texts.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;
htmx.config.allowScriptTags = false;
htmx.config.selfRequestsOnly = true;
htmx.config.historyCacheSize = 0;
// A form that was refused comes back with what is wrong.
htmx.config.responseHandling = [
  { code: "204", swap: false },
  { code: "[23]..", swap: true },
  { code: "422", swap: true },
  { code: "[45]..", swap: false, error: true },
];

// One box that checks all others of its form.
document.addEventListener("change", ({ target }) => {
  if (!target.matches("[data-check-all]")) return;
  for (const box of target.form.querySelectorAll("input[type=checkbox][name]")) box.checked = target.checked;
});
