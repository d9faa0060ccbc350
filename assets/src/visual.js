// The visual editor of a mail's MJML: GrapesJS on the page's textarea, which is what the form sends.
import grapesjs from "grapesjs";
import mjmlModule from "grapesjs-mjml";

const mjml = mjmlModule.default ?? mjmlModule;

const area = document.getElementById("f-body");
const form = area.form;
const texts = JSON.parse(document.getElementById("visual-texts").textContent);
const BLOCKS = ["mj-1-column", "mj-2-columns", "mj-3-columns", "mj-text", "mj-button", "mj-image", "mj-divider", "mj-spacer"];

// What the editor does not draw goes around it untouched: the head, and what the author says of the whole.
const HEAD = /<mj-head[\s>][^]*?<\/mj-head>|<mj-head\s*\/>/;
const head = (area.value.match(HEAD) ?? [""])[0];

// The canvas is of our own origin: what does something there, and means nothing in a mail, does not come in.
function harmless(source) {
  return source
    .replace(/<(script|form|iframe|object|embed)\b[^]*?<\/\1\s*>/gi, (all, name) => (name.toLowerCase() === "form" ? all.replace(/<\/?form\b[^>]*>/gi, "") : ""))
    .replace(/<\/?(?:script|form|iframe|object|embed|base|meta|link)\b[^>]*>/gi, "")
    .replace(/<[a-z][^<>]*>/gi, (tag) =>
      tag
        .replace(/[\s"'/]on[a-z]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>]*)/gi, (found) => (/["']/.test(found[0]) ? `${found[0]} ` : " "))
        .replace(/\starget\s*=\s*(?:"_(?:top|parent)"|'_(?:top|parent)'|_(?:top|parent)\b)/gi, ""),
    );
}

// Raw HTML may hold anything, styles of the whole canvas included: it is kept beside, and a note stands in its place.
const RAW = /<mj-raw\b(?:"[^"]*"|'[^']*'|[^<>"'])*>[^]*?<\/mj-raw\s*>/gi;
const raws = [];
const setAside = (source) =>
  source.replace(RAW, (all) => {
    raws.push(all);
    return `<mj-raw><div class="kept-raw-${raws.length - 1}" style="font-size: 13px; font-family: sans-serif; color: #777">${texts.raw}</div></mj-raw>`;
  });
const putBack = (source) => source.replace(RAW, (all) => raws[/kept-raw-(\d+)/.exec(all)?.[1]] ?? all);

// It reads MJML as HTML, where <mj-image/> does not end, and writes attributes without escaping them.
function readable(source) {
  return source
    .replace(HEAD, "")
    .replace(/<!--[^]*?-->/g, "")
    .replace(/<(mj-[\w-]+)((?:\s[^<>]*?)?)\/>/g, "<$1$2></$1>")
    .replace(/<mj-[^<>]*>/g, (tag) => tag.replaceAll("&quot;", "'"));
}

function written(editor) {
  const code = editor.runCommand("mjml-code").replace(/^<body[^>]*>|<\/body>$/g, "");
  return putBack(code.replace(/<mjml([^>]*)>/, `<mjml$1>${head}`).replaceAll(/><(mj-(?!raw)|\/mj-|\/mjml)/g, ">\n<$1"));
}

const quiet = { telemetry: false, storageManager: false, panels: { defaults: [] }, cssIcons: "", noticeOnUnload: false, showDevices: false };
// The plugin's own compiler, to be called with the head: fonts, classes and defaults that stand there are seen, too.
const compiler = grapesjs.init({ ...quiet, headless: true, plugins: [mjml], pluginsOpts: { [mjml]: { useCustomTheme: false } } });
const drawn = (source, options) => compiler.runCommand("mjml-code-to-html", { ...options, mjml: source.replace(/<mjml([^>]*)>/, `<mjml$1>${head}`) });

const plugin = (editor) => {
  mjml(editor, {
    blocks: BLOCKS,
    block: (id) => ({ ...(texts.blocks[id] && { label: texts.blocks[id] }), ...(id === "mj-image" && { content: '<mj-image alt=""></mj-image>' }), category: undefined, select: true }),
    imagePlaceholderSrc: "data:,",
    mjmlParser: drawn,
    useCustomTheme: false,
    hideSelector: true,
    resetDevices: false,
    fonts: {},
  });
  // Nothing is added to what an element says of itself: what it does not say, the head may.
  for (const { id, model } of editor.Components.getTypes()) {
    if (id.startsWith("mj")) model.prototype.defaults = { ...model.prototype.defaults, "style-default": {} };
  }
};

const editor = grapesjs.init({
  ...quiet,
  container: "#visual",
  height: "100%",
  width: "auto",
  components: harmless(readable(setAside(area.value))),
  plugins: [plugin],
  blockManager: { appendTo: "#visual-blocks" },
  styleManager: { appendTo: "#visual-styles" },
  traitManager: { appendTo: "#visual-traits" },
  layerManager: { appendTo: "#visual-layers" },
  assetManager: { upload: false, dropzone: false, embedAsBase64: false },
  deviceManager: { devices: [{ id: "Desktop", name: "Desktop", width: "" }, { id: "Phone", name: "Phone", width: "375px", widthMedia: "480px" }] },
});

const changed = () => {
  area.value = written(editor);
};
form.addEventListener("submit", changed);

// -- adding, by click or key: after what is chosen, or at the end --

const within = (component, test) => {
  for (let each = component; each; each = each.parent()) if (test(each)) return each;
  return undefined;
};
const is = (...names) => (component) => names.includes(component.get("tagName"));

function place(block) {
  const body = editor.getWrapper().find("mj-body")[0];
  const chosen = editor.getSelected();
  const content = block.get("content");
  const [wanted, holder] = content.startsWith("<mj-section") ? [is("mj-section", "mj-wrapper"), is("mj-body")] : [(one) => is("mj-column", "mj-hero")(one.parent() ?? one), is("mj-column", "mj-hero")];
  const beside = within(chosen, (one) => one.parent() && wanted(one));
  if (beside) return beside.parent().append(content, { at: beside.index() + 1 })[0];
  const inside = within(chosen, holder);
  if (inside) return inside.append(content)[0];
  if (holder(body)) return body.append(content)[0];
  const column = chosen ? chosen.find("mj-column")[0] : body.find("mj-column").at(-1);
  if (column) return column.append(content)[0];
  return body.append(`<mj-section><mj-column>${content}</mj-column></mj-section>`)[0].find("mj-column")[0].components().at(0);
}

function add(id) {
  const added = place(editor.Blocks.get(id));
  editor.select(added);
  editor.Canvas.scrollTo(added);
}

editor.on("load", () => {
  for (const element of document.querySelectorAll("#visual-blocks .gjs-block")) {
    const block = editor.Blocks.getAll().find((one) => one.getLabel() === element.title || one.getLabel() === element.textContent.trim());
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    element.addEventListener("click", () => add(block.id));
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      add(block.id);
    });
  }
  document.querySelector(".gjs-frame").title = texts.canvas;
  editor.UndoManager.clear();
  area.closest(".visual-source").hidden = true;
  document.getElementById("visual-tools").hidden = document.getElementById("visual-frame").hidden = false;
  editor.refresh();
  document.documentElement.dataset.visual = "ready";
});

// -- the tools --

const flat = (component, found = []) => {
  if (/^mj-(?!body)/.test(component.get("tagName"))) found.push(component);
  component.components().forEach((one) => flat(one, found));
  return found;
};
function walk(step) {
  const all = flat(editor.getWrapper());
  const at = all.indexOf(within(editor.getSelected(), (one) => all.includes(one)));
  const next = all.at((at + step + all.length) % all.length);
  if (next) editor.select(next), editor.Canvas.scrollTo(next);
}
function move(step) {
  const chosen = within(editor.getSelected(), (one) => /^mj-/.test(one.get("tagName")));
  const at = chosen?.index() + step;
  if (chosen && at >= 0 && at < chosen.parent().components().length) chosen.move(chosen.parent(), { at: step > 0 ? at + 1 : at }), editor.select(chosen);
}
const TOOLS = {
  undo: () => editor.UndoManager.undo(),
  redo: () => editor.UndoManager.redo(),
  previous: () => walk(-1),
  next: () => walk(1),
  up: () => move(-1),
  down: () => move(1),
  copy: () => editor.runCommand("tlb-clone"),
  remove: () => editor.runCommand("tlb-delete"),
  write: () => editor.getSelected()?.view?.onActive?.(new Event("dblclick")),
};
document.getElementById("visual-tools").addEventListener("click", ({ target }) => {
  const tool = target.closest("[data-tool]");
  if (tool) TOOLS[tool.dataset.tool]();
});
for (const radio of document.querySelectorAll("#visual-tools [name=device]")) radio.addEventListener("change", () => editor.setDevice(radio.value));

// -- merge fields, while a text is written --

const options = texts.merge.map(([name, help]) => `<option value="{${name}}">{${name}} ${help}</option>`).join("");
editor.RichTextEditor.add("merge", {
  icon: `<select class="gjs-field" aria-label="${texts.insert}"><option value="">${texts.insert}</option>${options}</select>`,
  event: "change",
  result: (rte, action) => {
    const select = action.btn.firstChild;
    rte.insertHTML(select.value);
    select.value = "";
  },
});
