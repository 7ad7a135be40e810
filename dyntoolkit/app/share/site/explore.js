// A slider that moves without a kernel: the runs of a page (site_data.py) drawn by the Board, with time-lapse and claims.

const REST = 120; // ms between two moments when they are played
const CLAIMS_NOTE = "The figures look back; the claims refer to the end of the run.";

function element(tag, className, attributes = {}) {
  const made = document.createElement(tag);
  made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// What `site_data.script` has packed: {about..., numbers}, the latter an array of all arrays.
async function unpacked(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.codePointAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const planes = new Uint8Array(buffer, 4 + length);
  const bytes = new Uint8Array(planes.length);
  const count = planes.length / 4;
  for (let plane = 0; plane < 4; plane += 1) {
    for (let k = 0; k < count; k += 1) bytes[4 * k + plane] = planes[plane * count + k];
  }
  const numbers = new Float32Array(bytes.buffer);
  let start = 0;
  return { ...about, numbers: about.sizes.map((size) => numbers.subarray(start, (start += size))) };
}

// The numbers of a moment one after the other, as the Board takes them.
function gathered(page, moment) {
  const parts = moment.arrays.flatMap(([k, first, last]) => {
    const whole = page.numbers[k];
    if (first === undefined) return [whole];
    return [whole.subarray(0, first), whole.subarray(whole.length - last)];
  });
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return new Uint8Array(all.buffer);
}

// A slider over the places 0 to words.length - 1, and the word for each beside it.
function makeSlider(label, moved) {
  const box = element("label", "dyn-slider");
  const name = element("span", "dyn-slider-name");
  const input = element("input", "", { type: "range", min: 0, step: 1 });
  const word = element("span", "dyn-slider-word");
  name.textContent = label;
  box.append(name, input, word);
  let words = [];
  const at = () => input.valueAsNumber;
  const show = (newWords, place) => {
    words = newWords;
    input.max = Math.max(words.length - 1, 0);
    input.disabled = words.length < 2;
    input.value = place;
    word.textContent = words[place] ?? "";
    input.setAttribute("aria-valuetext", word.textContent);
  };
  input.addEventListener("input", () => {
    show(words, at());
    moved();
  });
  return { box, at, show };
}

// The words of the moments of a run, for its time-lapse.
function moments(run) {
  return run.moments.map(({ step }) => `step ${step.toLocaleString("en")}`);
}

// The parts of a page's figure, put together in `el`.
function build(el, page, moved, lookedBack) {
  const sliders = page.sliders.map(({ label }) => makeSlider(label, moved));
  const lapse = makeSlider("Time-lapse", lookedBack);
  const parts = {
    sliders,
    lapse,
    play: element("button", "dyn-play", { type: "button" }),
    figure: element("div", ""),
    note: element("p", "dyn-note", { role: "status" }),
    claims: element("section", "dyn-claims", { "aria-label": "Claims" }),
    live: element("a", "dyn-live-link"),
  };
  const settings = element("div", "dyn-sliders", { role: "group", "aria-label": "Settings" });
  const about = element("p", "dyn-about");
  const row = element("div", "dyn-lapse");
  parts.live.textContent = "Open it live";
  const seeds = page.seeds === 1 ? "one seed" : `median and range of ${page.seeds} seeds`;
  about.append(`Trained beforehand: ${seeds}. With a kernel every setting moves: `, parts.live, ".");
  settings.append(...sliders.map(({ box }) => box));
  row.append(lapse.box, parts.play);
  el.replaceChildren(settings, about, parts.figure, row, parts.note, parts.claims);
  sliders.forEach((slider, k) => slider.show(page.sliders[k].values, page.sliders[k].at));
  return parts;
}

// The controls and the figure in an element of the page.
function explore(el, page) {
  let run = null;
  let playing = null;
  const parts = build(el, page, moved, lookedBack);
  const { lapse, play } = parts;
  const show = globalThis.dyntoolkitBoard(parts.figure, page.title);
  const last = () => Math.max(run.moments.length - 1, 0);

  function draw() {
    parts.note.textContent = lapse.at() < last() ? CLAIMS_NOTE : run.note;
    const moment = run.moments[lapse.at()];
    if (!moment) return;
    const { step, shapes, template } = moment;
    show({ step, sizes: shapes, panels: page.templates[template], config: page.config, numbers: gathered(page, moment) });
  }

  function goTo(place) {
    lapse.show(moments(run), place);
    draw();
  }

  function pause() {
    clearInterval(playing);
    playing = null;
    play.textContent = "Play";
  }

  function lookedBack() {
    pause();
    draw();
  }

  // Another run: at its end, or where the reader looks back to.
  function moved() {
    pause();
    const number = parts.sliders.reduce((sum, slider, k) => sum * page.sliders[k].values.length + slider.at(), 0);
    const atEnd = !run || lapse.at() >= last();
    run = page.runs[number];
    play.disabled = last() === 0;
    parts.figure.hidden = run.moments.length === 0;
    parts.claims.innerHTML = run.claims; // made by claims_view.py, which escapes
    if (run.live) parts.live.href = run.live;
    goTo(atEnd ? last() : Math.min(lapse.at(), last()));
  }

  function playOn() {
    if (lapse.at() === last()) goTo(0);
    play.textContent = "Pause";
    playing = setInterval(() => {
      goTo(Math.min(lapse.at() + 1, last()));
      if (lapse.at() === last()) pause();
    }, REST);
  }

  play.addEventListener("click", () => (playing === null ? playOn() : pause()));
  moved();
}

// The figures take their colours from the page, and change with its theme.
new MutationObserver(() => {
  document.body.dataset.jpThemeName = document.body.dataset.theme;
}).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });

// Shows the runs that a page's script holds; the stored picture stays until there is a figure.
export default async function showRuns(text) {
  const el = document.querySelector("#dyn-explore");
  try {
    explore(el, await unpacked(text));
    el.closest(".cell_output").classList.add("dyn-explored");
  } catch (error) {
    el.textContent = `The figure could not be drawn: ${error.message}`;
    throw error;
  }
}
