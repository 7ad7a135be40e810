// The Board on a page without a kernel: it draws frames that the page itself holds, with the code of board.js.
// show = storedBoard(render, el, label) puts it into an element; show(frame) draws a frame of `stored_frame` (Python), whose
// numbers may also come as bytes.

// base64 -> bytes
function decoded(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let k = 0; k < bytes.length; k += 1) bytes[k] = characters.codePointAt(k);
  return bytes;
}

// plotly.js: what a script of the page has defined, or else gzipped in an element of the page.
function giveLibrary(emit) {
  const shared = globalThis.dyntoolkitPlotly;
  if (shared.arriving) return;
  if (globalThis.Plotly) {
    shared.arriving = true;
    shared.resolve(globalThis.Plotly);
  } else {
    const held = document.querySelector("#dyntoolkit-plotly");
    if (held) emit({ kind: "library" }, decoded(held.textContent));
  }
}

export default function storedBoard(render, el, label) {
  const listeners = new Set();
  const emit = (message, buffer) => listeners.forEach((listener) => listener(message, [buffer]));
  let newest = null;
  let count = 0;
  const draw = () => {
    if (!newest) return;
    count += 1;
    const { numbers, ...frame } = newest;
    emit({ kind: "frame", frame: count, structure: count, ...frame }, typeof numbers === "string" ? decoded(numbers) : numbers);
  };
  const model = {
    get: (name) => (name === "label" ? label : false),
    on: (_, listener) => listeners.add(listener),
    off: (_, listener) => listeners.delete(listener),
    send: ({ kind }) => {
      if (kind === "library") giveLibrary(emit);
      if (kind === "attach") draw();
    },
  };
  render({ model, el });
  // The colours of a page follow those of the reader's screen, and its figures those of the page.
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => {
    document.body.dataset.jpThemeName = dark.matches ? "dark" : "light";
  });
  return (frame) => {
    newest = frame;
    draw();
  };
}
