// Copies what gives the present run again, shows its link as a picture for cameras, and has the page's address follow it.

const REST = 400; // ms between two changes of the address: browsers allow some two hundred in half a minute
const PATIENCE = 5000; // ms that the kernel may take for the picture
const SHOWN = 4000; // ms that the row says what it has done
const LOOKS = new Set(["voila-template", "voila-theme", "template", "theme"]); // how Voila's page looks
const HERE = /^(?:localhost|127\..*|\[::1\])$/u; // names by which a machine calls itself
const SERVED = "http://127.0.0.1:8866/voila/render/experiment.ipynb"; // the page of any experiment, as `dyntoolkit serve` has it

const isVoila = () => "voila" in document.body.dataset;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// The address of the page that a link opens, without its query, and what that is, in words.
async function pageOf(kernel) {
  if (isVoila()) return { address: location.origin + location.pathname, words: "" };
  try {
    const { baseUrl } = kernel.serverSettings;
    const answer = await fetch(`${baseUrl}api/sessions`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    const session = (await answer.json()).find((each) => each.kernel?.id === kernel.id);
    const path = session.path.split("/").map(encodeURIComponent).join("/");
    return {
      address: new URL(`${baseUrl}voila/render/${path}`, location.href).href,
      words:
        "The link opens this notebook, as it was last saved, as a page of this server. What stands behind its question " +
        "mark also fits the pages of “dyntoolkit serve”.",
    };
  } catch (error) {
    console.warn("This is no Jupyter server that tells where its notebooks are", error);
    return { address: SERVED, words: "The link opens a page of “dyntoolkit serve” on the machine where it is opened." };
  }
}

// The step that is shown, where somebody looks back; "" at the end of a run, or where it grows.
function stepShown(el) {
  const dashboard = el.closest(".dyn-dashboard");
  const slider = dashboard?.querySelector(".dyn-lapse-slider input");
  const isBack = slider && slider.valueAsNumber < Number(slider.max);
  return isBack ? `&step=${dashboard.querySelector(".dyn-board .dyntoolkit-board")?.dataset.step}` : "";
}

// Whether the text is in the clipboard. Pages that came without TLS have no clipboard but that of a selected text.
async function copied(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = document.activeElement;
    field.value = text;
    field.hidden = false;
    field.select();
    const done = document.execCommand("copy");
    if (done) {
      field.hidden = true;
      before.focus();
    }
    return done;
  }
}

// The page's address shows the run of the dashboard that was moved last, and "back" leaves the page.
function follow(model, el) {
  let timer = null;
  const write = () => {
    timer = null;
    const address = new URL(location.href);
    const looks = [...address.searchParams].filter(([name]) => LOOKS.has(name));
    const step = stepShown(el);
    const query = model.get("query") === model.get("plain") && !step ? "" : model.get("query") + step;
    address.search = [query, new URLSearchParams(looks).toString()].filter(Boolean).join("&");
    history.replaceState(history.state, "", address);
  };
  const wait = () => {
    timer ??= setTimeout(write, REST);
  };
  if (isVoila()) model.on("change:query", wait);
  return () => {
    clearTimeout(timer);
    model.off("change:query", wait);
  };
}

// The picture of a link on top of all else, until Escape or a click.
function show(el, picture, text) {
  const warning = HERE.test(new URL(text).hostname)
    ? [element("p", { textContent: "Only this machine can open it: to a phone, this address means the phone itself." })]
    : [];
  const close = element("button", { type: "button", className: "jupyter-button", textContent: "Close" });
  const image = element("img", { src: picture, alt: "QR code of the link" });
  const dialog = element("dialog", { className: "dyn-picture" }, image, element("p", { textContent: text }), ...warning, close);
  dialog.setAttribute("aria-label", "QR code of the link");
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // JupyterLab has shortcuts of its own
  dialog.addEventListener("close", () => dialog.remove());
  el.append(dialog);
  dialog.showModal();
}

function render({ model, el }) {
  const fold = element("button", { type: "button", className: "jupyter-button" });
  const news = element("span", { className: "dyn-share-news" });
  news.setAttribute("role", "status");
  const field = element("textarea", { className: "dyn-share-text", readOnly: true, hidden: true, rows: 2 });
  field.setAttribute("aria-label", "What is to be copied");
  const note = element("p", { className: "dyn-share-note" });
  const row = element("div", { className: "dyn-share-row" });
  const inside = element("div", { hidden: true }, row, field, note);
  let page = null; // what the link opens, once it is known
  let asked = null; // the link whose picture is wanted
  let timer = null;

  const say = (words, rest = SHOWN, then = "") => {
    clearTimeout(timer);
    news.textContent = words;
    if (words) timer = setTimeout(() => say(then), rest);
  };
  const link = async () => `${(await page).address}?${model.get("query")}${stepShown(el)}`;
  const update = async () => {
    note.textContent = [model.get("note"), (await page)?.words].filter(Boolean).join(" ");
    note.hidden = !note.textContent;
  };
  const copy = async (what, text) => {
    field.hidden = true;
    const done = await copied(text, field);
    say(done ? `Copied ${what}.` : "Copy the marked text.");
  };
  const picture = async () => {
    asked = await link();
    try {
      model.send({ kind: "picture", text: asked });
      say("The picture comes.", PATIENCE, "The kernel does not answer.");
    } catch (error) {
      console.warn("The kernel is gone", error);
      say("The kernel is gone, which would draw it.");
    }
  };
  const receive = (message) => {
    if (message.kind !== "picture" || message.text !== asked) return;
    asked = null;
    say(message.picture ? "" : `A link of ${message.text.length} characters is too long for a picture: unpin some runs.`);
    if (message.picture) show(el, message.picture, message.text);
  };
  const button = (textContent, act) => {
    const made = element("button", { type: "button", className: "jupyter-button", textContent });
    made.addEventListener("click", act);
    row.append(made);
  };
  const open = (shown) => {
    inside.hidden = !shown;
    fold.textContent = `${shown ? "▾" : "▸"} Share`;
    fold.setAttribute("aria-expanded", String(shown));
  };

  button("Copy link", async () => copy("the link", await link()));
  button("Copy as Python", () => copy("lines of Python", model.get("python")));
  button("Copy as command", () => copy("a command", model.get("command")));
  button("QR code", picture);
  row.append(news);
  fold.addEventListener("click", () => {
    open(inside.hidden);
    page = pageOf(model.widget_manager?.kernel);
    update();
  });
  open(false);
  update();
  el.append(fold, inside);
  const leave = follow(model, el);
  model.on("change:note", update);
  model.on("msg:custom", receive);
  return () => {
    leave();
    clearTimeout(timer);
    model.off("change:note", update);
    model.off("msg:custom", receive);
  };
}

export default { render };
