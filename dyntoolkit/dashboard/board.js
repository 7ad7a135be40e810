// Draws a dashboard's panels with plotly.js. The kernel sends numbers (one float32 buffer a frame) and, when it is new,
// the figure's structure; the view says when a frame is drawn. plotly.js itself comes from the kernel, once per page.

const LIBRARY_PATIENCE = 15000; // ms until another board of the page asks for plotly.js again
const FIRST_REST = 1000; // ms until a view asks again for what it has not got; then twice as long, and so on
const LONGEST_REST = 30000;
const TOUCH = window.matchMedia("(pointer: coarse)").matches; // a finger on a plot scrolls the page, and zooms nothing

// One plotly.js for all boards of a page: a promise, when it was asked for, and what fulfils the promise.
function sharedLibrary() {
  if (!globalThis.dyntoolkitPlotly) {
    const shared = { askedAt: -Infinity, arriving: false };
    shared.plotly = new Promise((resolve) => {
      shared.resolve = resolve;
    });
    globalThis.dyntoolkitPlotly = shared;
  }
  return globalThis.dyntoolkitPlotly;
}

async function unpackLibrary(bytes) {
  const shared = sharedLibrary();
  if (shared.arriving) return;
  shared.arriving = true;
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const source = await new Response(stream).text();
    const module = { exports: {} };
    new Function("module", source)(module); // a CommonJS module, as far as the file can tell
    shared.resolve(module.exports);
  } catch (error) {
    shared.arriving = false;
    throw error;
  }
}

// The structure with the frame's numbers in the places marked {array: k}. A matrix is an array of its rows.
function fill(node, arrays) {
  if (Array.isArray(node)) return node.map((child) => fill(child, arrays));
  if (node === null || typeof node !== "object") return node;
  if ("array" in node) return arrays[node.array];
  return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, fill(child, arrays)]));
}

function unpackNumbers(view, sizes) {
  // A message's buffer need not start at a multiple of four.
  const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  const numbers = new Float32Array(bytes);
  let start = 0;
  const take = (count) => numbers.subarray(start, (start += count));
  return sizes.map((size) => {
    if (size.length === 0) return take(1)[0];
    if (size.length === 1) return take(size[0]);
    return Array.from({ length: size[0] }, () => take(size[1]));
  });
}

// JupyterLab's colours, light or dark; Voila has the same variables.
function themed(layout, el) {
  const style = getComputedStyle(el);
  const color = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
  const text = color("--jp-ui-font-color1", "#333");
  const line = color("--jp-border-color1", "#bdbdbd");
  const grid = color("--jp-border-color2", "#e0e0e0");
  layout.showlegend = false;
  if (TOUCH) layout.dragmode = false;
  layout.font.color = text;
  layout.font.family = color("--jp-ui-font-family", "sans-serif");
  for (const axis of [layout.xaxis, layout.yaxis]) {
    Object.assign(axis, { gridcolor: grid, zerolinecolor: line, linecolor: line, tickcolor: line });
  }
  layout.hoverlabel = { bgcolor: color("--jp-layout-color0", "#fff"), bordercolor: line, font: { color: text } };
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: text };
  return layout;
}

function element(tag, className, attributes = {}) {
  const made = document.createElement(tag);
  made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Text with plotly's few tags, and with the entities of figure/literal.py, as HTML; anything else in it stays text.
function rich(text) {
  const escaped = text.replaceAll(/&(?!(?:amp|lt|gt|#36);)/gu, "&amp;").replaceAll("<", "&lt;");
  return escaped.replaceAll(/&lt;(\/?(?:sub|sup|i|b))>/gu, "<$1>");
}

// The legend beside a plot's title: a button for each mark, which hides and shows it. In HTML it wraps and takes no
// room from the plot, which plotly's own legend does.
function legendButtons(panel, hidden, changed) {
  const marks = [...panel.data, ...panel.layout.shapes].filter((mark) => mark.showlegend !== false && !mark.colorbar);
  return marks
    .sort((a, b) => a.legendrank - b.legendrank)
    .map((mark) => {
      const button = element("button", "", { type: "button", "aria-pressed": String(!hidden.has(mark.name)) });
      const point = mark.type === "bar" || mark.mode === "markers";
      const kind = mark.fill ? "area" : point ? mark.type : mark.line.dash;
      const swatch = element("span", `dyntoolkit-swatch dyntoolkit-${kind}`);
      swatch.style.color = (mark.type === "bar" ? mark.marker : mark.line).color;
      button.innerHTML = rich(mark.name);
      button.prepend(swatch);
      button.addEventListener("click", () => {
        if (!hidden.delete(mark.name)) hidden.add(mark.name);
        button.setAttribute("aria-pressed", String(!hidden.has(mark.name)));
        changed();
      });
      return button;
    });
}

// The elements of one panel: heading, legend, plot; and the names of the marks that the reader has switched off.
function makePanel() {
  const parts = {
    box: element("div", "dyntoolkit-panel"),
    head: element("div", "dyntoolkit-head"),
    heading: element("h3", ""),
    legend: element("div", "dyntoolkit-legend", { role: "group", "aria-label": "Curves shown" }),
    plot: element("div", "dyntoolkit-plot"),
    hidden: new Set(),
  };
  parts.head.append(parts.heading, parts.legend);
  parts.box.append(parts.head, parts.plot);
  return parts;
}

// The elements of these panels. Where panels come and go in the middle of a run, those that stay, by their titles, keep
// their zoom and what is switched off.
function arranged(shown, panels) {
  const before = new Map(shown.map((parts) => [parts.heading.dataset.title, parts]));
  return panels.map(({ title }) => {
    const parts = before.get(title) ?? makePanel();
    before.delete(title); // of several with one title each needs its own
    return parts;
  });
}

function figure(panel, arrays, hidden, board) {
  const { data, layout } = fill({ data: panel.data, layout: panel.layout }, arrays);
  for (const mark of [...data, ...layout.shapes]) if (hidden.has(mark.name)) mark.visible = false;
  return { data, layout: themed(layout, board) };
}

// plotly gives its drawings their size in pixels. With it as their coordinates, too, they can be scaled: on paper. The
// first one is the picture for who does not see it; the whole plot cannot be, for its buttons are none of a picture.
function complete(plot) {
  plot.querySelectorAll(".main-svg").forEach((svg, k) => {
    svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
    const words = k === 0 ? { role: "img", "aria-label": plot.dataset.label } : { "aria-hidden": "true" };
    for (const [name, value] of Object.entries(words)) svg.setAttribute(name, value);
  });
}

async function drawInto(plot, plotly, { data, layout }, config, pick) {
  await plotly.react(plot, data, layout, config);
  complete(plot);
  if (pick) listen(plot, pick);
}

// Tells which mark is clicked on, and where.
function listen(plot, pick) {
  if (plot.dataset.listens) return;
  plot.dataset.listens = "true";
  plot.on("plotly_click", ({ points: [{ data, x, y }] }) => pick({ name: data.name, x, y }));
}

async function resize(plot, plotly) {
  await plotly.Plots.resize(plot);
  complete(plot);
}

// What a view says to the kernel. randomUUID exists on secure pages only.
function makeVoice(model) {
  const view = crypto.randomUUID?.() ?? String(Math.random());
  return (kind, more = {}) => {
    try {
      model.send({ kind, view, ...more });
    } catch (error) {
      console.warn("The kernel is gone, or the page is being left", error);
    }
  };
}

// The panels of one view, and their drawing: the newest frame, as soon as the one before is drawn.
function makePainter(board, problem, say, pick) {
  const grid = element("div", "dyntoolkit-grid");
  board.append(problem, grid);
  let structure = null; // {number, panels, config}
  let newest = null; // {frame, step, arrays}
  let shown = []; // the elements of each panel
  const gone = []; // the plots of panels that are no more, which plotly may still be drawing
  let drawing = false;
  let closed = false;
  let plotly = null;

  const report = (what, error) => {
    console.error(error);
    problem.textContent = `${what}: ${error?.message ?? error}`;
  };
  const purge = (plots) => plotly && plots.splice(0).forEach((plot) => plotly.purge(plot));
  const resizer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (plotly && target.clientWidth > 0 && target.classList.contains("js-plotly-plot")) resize(target, plotly);
    }
  });

  function layOut(panels) {
    if (panels.length !== shown.length) {
      const now = arranged(shown, panels);
      gone.push(...shown.filter((parts) => !now.includes(parts)).map(({ plot }) => plot));
      shown = now;
      resizer.disconnect();
      grid.replaceChildren(...shown.map(({ box }) => box));
      grid.classList.toggle("dyntoolkit-many", panels.length > 4);
      shown.forEach(({ plot }) => resizer.observe(plot));
    }
    panels.forEach((panel, k) => {
      shown[k].heading.dataset.title = panel.title;
      shown[k].heading.innerHTML = rich(panel.title);
      shown[k].legend.replaceChildren(...legendButtons(panel, shown[k].hidden, redraw));
      shown[k].plot.dataset.label = panel.label;
    });
  }

  async function drawNewest() {
    const drawn = newest;
    const figures = structure.panels.map((panel, k) => figure(panel, drawn.arrays, shown[k].hidden, board));
    await Promise.all(figures.map((each, k) => drawInto(shown[k].plot, plotly, each, structure.config, pick)));
    // With the keyboard, the zoom buttons of every panel would stand between the reader and the sliders.
    for (const button of board.querySelectorAll(".modebar-btn")) button.tabIndex = -1;
    board.dataset.frame = drawn.frame;
    board.dataset.step = drawn.step;
    problem.textContent = "";
  }

  async function draw() {
    if (drawing || closed) return;
    drawing = true;
    let drawn = null;
    let began = performance.now();
    try {
      plotly = await sharedLibrary().plotly;
      began = performance.now();
      while (drawn !== newest && !closed) {
        drawn = newest;
        await drawNewest();
      }
    } catch (error) {
      report("The figure could not be drawn", error);
    }
    drawing = false;
    purge(gone);
    if (closed) return purge(shown.map(({ plot }) => plot));
    // Also after an error: the next frame may be better. The kernel waits for this word, and it comes after a rest as
    // long as the drawing: on a machine that draws slowly, training and the page's controls need the other half.
    setTimeout(() => closed || say("drawn", { frame: drawn.frame }), performance.now() - began);
    if (drawn !== newest) draw();
  }

  function redraw() {
    if (!newest) return;
    newest = { ...newest };
    draw();
  }

  function takeFrame(message, numbers) {
    if (message.panels) {
      const config = TOUCH ? { ...message.config, displayModeBar: false } : message.config;
      structure = { number: message.structure, panels: message.panels, config };
      layOut(structure.panels);
    }
    if (structure?.number !== message.structure) return say("attach"); // a structure got lost: ask for it
    newest = { frame: message.frame, step: message.step, arrays: unpackNumbers(numbers, message.sizes) };
    draw();
  }

  function close() {
    closed = true;
    resizer.disconnect();
    if (!drawing) purge(shown.map(({ plot }) => plot));
  }

  return { takeFrame, redraw, report, close, hasFrame: () => newest !== null };
}

// Asks the kernel for plotly.js and for the newest frame until both are there: right after a page is opened or reloaded
// the connection may lose a message, and the kernel does not know. The rest between two questions doubles.
function askUntilThere(say, hasFrame) {
  const shared = sharedLibrary();
  let rest = FIRST_REST;
  let timer = null;
  const askForLibrary = () => {
    if (shared.arriving || Date.now() - shared.askedAt < LIBRARY_PATIENCE) return;
    shared.askedAt = Date.now();
    say("library");
  };
  const ask = () => {
    if (!hasFrame()) say("attach");
    askForLibrary();
    timer = hasFrame() && shared.arriving ? null : setTimeout(ask, rest);
    rest = Math.min(2 * rest, LONGEST_REST);
  };
  ask();
  return () => clearTimeout(timer);
}

// What happens to the page: light turns to dark, the tab is looked at again.
function watchPage(say, redraw) {
  const theme = new MutationObserver(redraw);
  theme.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-name"] });
  const wake = () => document.visibilityState === "visible" && say("attach"); // frames may have been lost meanwhile
  document.addEventListener("visibilitychange", wake);
  return () => {
    document.removeEventListener("visibilitychange", wake);
    theme.disconnect();
  };
}

function render({ model, el }) {
  const say = makeVoice(model);
  const board = element("section", "dyntoolkit-board", { "aria-label": model.get("label"), "data-frame": "0" });
  const problem = element("p", "dyntoolkit-error", { role: "alert" });
  const pick = model.get("picks") ? (picked) => say("pick", picked) : null;
  const painter = makePainter(board, problem, say, pick);
  el.append(board);

  async function receive(message, buffers) {
    try {
      if (message.kind === "library") await unpackLibrary(buffers[0]);
      if (message.kind === "frame") painter.takeFrame(message, buffers[0]);
    } catch (error) {
      painter.report(message.kind === "library" ? "plotly.js could not be loaded" : "The figure could not be read", error);
    }
  }

  model.on("msg:custom", receive);
  const stopWatching = watchPage(say, painter.redraw);
  const stopAsking = askUntilThere(say, painter.hasFrame);

  return () => {
    say("detach");
    stopAsking();
    stopWatching();
    model.off("msg:custom", receive);
    painter.close();
  };
}

export default { render };
