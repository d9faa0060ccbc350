// The preview follows the writing: the form is sent into a new frame, which takes the old one's place when it is there.
const form = document.querySelector("form[data-preview]");
const button = document.getElementById("show-preview");

let number = 0;

function refresh() {
  const old = [...document.querySelectorAll(".preview-frame iframe")].at(-1);
  const frame = old.cloneNode();
  frame.removeAttribute("src");
  frame.name = button.formTarget = `mail-${++number}`;
  frame.classList.add("coming");
  old.after(frame);
  frame.addEventListener("load", () => {
    while (frame.previousElementSibling) frame.previousElementSibling.remove();
    frame.classList.remove("coming");
  });
  form.requestSubmit(button);
}

let waiting = 0;
function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, 500);
}
form.addEventListener("input", soon);
document.getElementById("f-as").addEventListener("input", soon);
for (const radio of document.querySelectorAll(".preview-views input")) radio.addEventListener("change", refresh);
if (!document.querySelector(".preview-frame iframe[src]")) soon();

// A merge field goes where the cursor was last.
let last = document.getElementById("f-body");
form.addEventListener("focusin", ({ target }) => {
  if (target.matches("textarea, input[type=text]")) last = target;
});
form.addEventListener("click", ({ target }) => {
  const name = target.closest("[data-merge]");
  if (!name) return;
  if (!last.isConnected) last = document.getElementById("f-body"); // the form came anew
  last.focus();
  last.setRangeText(name.dataset.merge, last.selectionStart, last.selectionEnd, "end");
  last.dispatchEvent(new Event("input", { bubbles: true }));
});
