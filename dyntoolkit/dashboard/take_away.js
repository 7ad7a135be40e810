// Hands out files of the present run. Each is made by the kernel when its button is pressed, and nothing before.

// What there is: [heading, [[words, suffix], ...]]
const OFFERED = [
  ["Data", [["CSV", ".csv"], ["netCDF", ".nc"], ["JSON", ".json"]]],
  ["Figure", [["SVG", ".svg"], ["PNG", ".png"], ["HTML", ".html"]]],
  ["Network", [["Weights", ".safetensors"]]],
  ["Words", [["Report", ".report.html"], ["BibTeX", ".bib"]]],
];

const unique = () => crypto.randomUUID?.() ?? String(Math.random()); // randomUUID exists on secure pages only

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const megabytes = (bytes) => (bytes < 1e5 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

async function unpacked(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Blob([await new Response(stream).arrayBuffer()], { type: "application/octet-stream" });
}

// Puts a file where the browser puts what is downloaded.
function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // a browser may ask where to put it
}

// The row of buttons: ask(suffix) for each.
function offers(ask) {
  return OFFERED.map(([heading, files]) => {
    const buttons = files.map(([textContent, suffix]) => {
      const button = element("button", { type: "button", className: "jupyter-button", textContent });
      button.addEventListener("click", () => ask(suffix));
      return button;
    });
    const group = element("div", { className: "dyn-take-group" }, element("span", { textContent: `${heading}:` }), ...buttons);
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", heading);
    return group;
  });
}

function render({ model, el }) {
  const fold = element("button", { type: "button", className: "jupyter-button" });
  const news = element("p", { className: "dyn-take-news" });
  news.setAttribute("role", "status");
  const lines = element("pre", { className: "dyn-take-lines", tabIndex: 0, hidden: true });
  lines.setAttribute("aria-label", "Python that loads the weights");
  let asked = null; // what the kernel is to make, until it is there

  const ask = (suffix) => {
    asked = unique();
    lines.hidden = true;
    try {
      model.send({ kind: "wanted", suffix, ask: asked });
      news.textContent = "The file is being made.";
    } catch (error) {
      console.warn("The kernel is gone", error);
      news.textContent = "The kernel is gone, which would make the file.";
    }
  };
  const receive = async (message, buffers) => {
    if (message.ask !== asked) return;
    asked = null;
    if (message.kind === "refused") {
      news.textContent = message.why;
      return;
    }
    const file = await unpacked(buffers[0]);
    download(file, message.name);
    news.textContent = `${message.name}, ${megabytes(file.size)}.`;
    lines.textContent = message.lines;
    lines.hidden = !message.lines;
  };
  const rerun = element("code");
  const note = element("p", { className: "dyn-take-note" }, "All but BibTeX say in themselves what reproduces the run: ", rerun, ".");
  const update = () => {
    rerun.textContent = model.get("rerun");
  };
  const inside = element("div", { hidden: true }, ...offers(ask), news, lines, note);
  const open = (shown) => {
    inside.hidden = !shown;
    fold.textContent = `${shown ? "▾" : "▸"} Take away`;
    fold.setAttribute("aria-expanded", String(shown));
  };

  fold.addEventListener("click", () => open(inside.hidden));
  open(false);
  update();
  el.append(fold, inside);
  model.on("change:rerun", update);
  model.on("msg:custom", receive);
  return () => {
    asked = null;
    model.off("change:rerun", update);
    model.off("msg:custom", receive);
  };
}

export default { render };
