// Bundles what pages load into src/cartwheel/ui/static: names with a digest, gzip and brotli beside each file.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const ui = join(here, "..", "src", "cartwheel", "ui");
const out = join(ui, "static");

// One entry a file in src/: app.js → app-DIGEST.js. Pages name them by their plain names.
const entries = readdirSync(join(here, "src")).filter((name) => /\.(js|css)$/.test(name));

const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: entries.map((name) => join("src", name)),
  bundle: true,
  minify: true,
  write: false,
  outdir: "out",
  target: ["es2021", "chrome109", "firefox115", "safari16"],
  loader: { ".woff2": "empty", ".woff": "empty" },
  legalComments: "none",
});

// Only the icons that a template names: icon("users").
function icons() {
  const named = new Set();
  for (const file of readdirSync(join(ui, "templates"), { recursive: true })) {
    if (!file.endsWith(".html")) continue;
    const text = readFileSync(join(ui, "templates", file), "utf8");
    for (const [, name] of text.matchAll(/icon\(\s*"([a-z0-9-]+)"/g)) named.add(name);
  }
  for (const [, name] of readFileSync(join(ui, "menu.py"), "utf8").matchAll(/icon="([a-z0-9-]+)"/g)) named.add(name);
  const symbols = [...named].sort().map((name) => {
    const svg = readFileSync(join(here, "node_modules/@tabler/icons/icons/outline", `${name}.svg`), "utf8");
    const drawing = svg.replace(/<!--[^]*?-->/g, "").match(/<svg[^>]*>([^]*)<\/svg>/)[1].replace(/\s*\n\s*/g, "");
    return `<symbol id="${name}" viewBox="0 0 24 24">${drawing}</symbol>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>`;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const manifest = {};

function put(name, bytes) {
  const digest = createHash("sha256").update(bytes).digest("hex").slice(0, 12);
  const named = name.replace(/\.(\w+)$/, `-${digest}.$1`);
  manifest[name] = named;
  writeFileSync(join(out, named), bytes);
  writeFileSync(join(out, `${named}.gz`), gzipSync(bytes, { level: 9 }));
  const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
  writeFileSync(join(out, `${named}.br`), brotliCompressSync(bytes, options));
}

for (const file of outputFiles) put(file.path.split("/").at(-1), file.contents);
for (const name of readdirSync(join(here, "src"))) {
  if (name.endsWith(".svg")) put(name, readFileSync(join(here, "src", name)));
}
put("icons.svg", Buffer.from(icons()));
writeFileSync(join(out, "manifest.json"), JSON.stringify(manifest, null, 1));
