// A source editor in place of the textarea of a mail's body: colours, a list of merge fields after "{". The textarea stays
// beneath it: what is written stands there at once, and what is put there shows here.
//
// The editor lives in a shadow root, because there its styles are made without a <style> element, which the policy forbids.
import { autocompletion, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, Language, bracketMatching, defineLanguageFacet, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState } from "@codemirror/state";
import { Decoration, EditorView, MatchDecorator, ViewPlugin, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { parser as htmlParser } from "@lezer/html";
import { parser as markdownParser } from "@lezer/markdown";
import { tags } from "@lezer/highlight";

const words = defineLanguageFacet();
const LANGUAGES = {
  html: new Language(words, htmlParser, [], "html"),
  mjml: new Language(words, htmlParser.configure({ dialect: "selfClosing" }), [], "mjml"),
  markdown: new Language(words, markdownParser, [], "markdown"),
};

// From app.css, so that light and dark are the page's; all of them readable on the page's surface.
const colours = HighlightStyle.define([
  { tag: [tags.tagName, tags.heading], color: "var(--source-tag)", fontWeight: "600" },
  { tag: [tags.attributeName, tags.labelName], color: "var(--source-name)" },
  { tag: [tags.attributeValue, tags.string, tags.url, tags.link], color: "var(--source-value)" },
  { tag: [tags.comment, tags.processingInstruction, tags.angleBracket], color: "var(--tblr-secondary)" },
  { tag: tags.emphasis, fontStyle: "italic" },
  { tag: tags.strong, fontWeight: "700" },
  { tag: tags.monospace, color: "var(--source-value)" },
]);

const look = EditorView.theme({
  "&": { backgroundColor: "transparent", color: "inherit", fontSize: "14px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--tblr-font-monospace)", lineHeight: "1.6", minHeight: "24rem", maxHeight: "60vh", overflow: "auto" },
  ".cm-content": { caretColor: "var(--tblr-body-color)", overflowWrap: "anywhere" },
  ".cm-cursor": { borderLeftColor: "var(--tblr-body-color)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--tblr-secondary)", borderRight: "1px solid var(--tblr-border-color)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--source-line)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: "var(--source-chosen)" },
  ".cm-merge": { background: "var(--source-merge)", borderRadius: "3px" },
  ".cm-tooltip": { background: "var(--tblr-bg-surface)", color: "var(--tblr-body-color)", border: "1px solid var(--tblr-border-color)" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { background: "var(--tblr-primary)", color: "#fff" },
});

const mergeMarks = new MatchDecorator({
  regexp: /\{[A-Za-z0-9_-]+(\|[^{}\r\n]*)?\}/g,
  decoration: Decoration.mark({ class: "cm-merge" }),
});
const merges = ViewPlugin.define(
  (view) => ({
    decorations: mergeMarks.createDeco(view),
    update(change) {
      this.decorations = mergeMarks.updateDeco(change, this.decorations);
    },
  }),
  { decorations: (plugin) => plugin.decorations },
);

// The names that the page lists, with what it says of them.
function complete(context) {
  const before = context.matchBefore(/\{[A-Za-z0-9_-]*/);
  if (!before) return null;
  const options = [...document.querySelectorAll("[data-merge]")].map((button) => ({
    label: button.dataset.merge,
    detail: button.nextElementSibling?.textContent ?? "",
    apply: (view, _, from, to) => {
      const end = view.state.sliceDoc(to, to + 1) === "}" ? to + 1 : to;
      view.dispatch({ changes: { from, to: end, insert: button.dataset.merge }, selection: { anchor: from + button.dataset.merge.length } });
    },
  }));
  return { from: before.from, options, validFor: /^\{[A-Za-z0-9_-]*$/ };
}

function enhance(area) {
  const label = document.querySelector(`label[for="${area.id}"]`);
  const kind = area.form.elements.kind;
  const host = document.createElement("div");
  host.className = area.className.replace("body-text", "source-editor");
  const root = host.attachShadow({ mode: "open" });
  const language = new Compartment();
  const told = { "aria-label": label.textContent, "aria-multiline": "true", spellcheck: "true" };
  if (area.hasAttribute("aria-invalid")) told["aria-invalid"] = "true";
  let own = false;

  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: area.value,
      extensions: [
        lineNumbers(), history(), drawSelection(), bracketMatching(), highlightActiveLine(), EditorView.lineWrapping,
        autocompletion({ override: [complete], icons: false }),
        keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap]), // Tab leaves it, as it leaves a textarea
        language.of(LANGUAGES[kind.value]),
        syntaxHighlighting(colours), merges, look,
        EditorView.contentAttributes.of(told),
        EditorView.updateListener.of((change) => {
          if (change.docChanged && !own) {
            own = true;
            area.value = change.state.doc.toString();
            area.dispatchEvent(new Event("input", { bubbles: true }));
            own = false;
          }
          if (change.selectionSet || change.docChanged) {
            const { from, to } = change.state.selection.main;
            area.setSelectionRange(from, to);
          }
          if (change.focusChanged && view.hasFocus) area.dispatchEvent(new Event("focusin", { bubbles: true }));
        }),
      ],
    }),
  });
  // Somebody else wrote into the textarea: a merge field was chosen from the list.
  area.addEventListener("input", () => {
    if (own) return;
    own = true;
    const end = area.selectionEnd;
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: area.value }, selection: { anchor: Math.min(end, area.value.length) } });
    own = false;
    view.focus();
  });
  kind.addEventListener("change", () => view.dispatch({ effects: language.reconfigure(LANGUAGES[kind.value]) }));
  label.removeAttribute("for");
  label.addEventListener("click", () => view.focus());
  area.hidden = true;
  area.after(host);
}

function all() {
  if (!("adoptedStyleSheets" in Document.prototype)) return;
  for (const area of document.querySelectorAll("textarea.body-text:not([hidden])")) enhance(area);
}
document.addEventListener("htmx:load", all);
all();
