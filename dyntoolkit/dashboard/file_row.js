// A button for a file of data. The file goes to the kernel in parts, each when the kernel asks for it: servers close the
// connection of a page that sends a large message.

const PART = 2 ** 19; // bytes; `dyntoolkit serve` takes messages of 2 ** 20

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
const unique = () => crypto.randomUUID?.() ?? String(Math.random()); // randomUUID exists on secure pages only

function element(tag, className, attributes = {}) {
  const made = document.createElement(tag);
  made.className = className;
  return Object.assign(made, attributes);
}

function render({ model, el }) {
  const note = element("span", "dyn-file-note", { id: `dyn-file-${unique()}` });
  const button = element("button", "jupyter-button", { type: "button", textContent: "Choose a CSV file" });
  const input = element("input", "", { type: "file", accept: ".csv,.tsv,.txt,text/csv", hidden: true });
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "Your data");
  button.setAttribute("aria-describedby", note.id);
  el.append(element("span", "dyn-file-label", { textContent: "Your data:" }), button, input, note);

  let chosen = null; // the file on its way, and what it is known by
  const say = (kind, { choice }, more, buffers = []) => {
    try {
      model.send({ kind, choice, ...more }, undefined, buffers);
    } catch (error) {
      console.warn("The kernel is gone", error);
    }
  };
  const update = (progress = "") => {
    button.disabled = model.get("disabled");
    note.textContent = progress || model.get("file") || `at most ${megabytes(model.get("limit"))}`;
  };

  async function send(from, offset) {
    const { name, size } = from.file;
    const end = Math.min(offset + PART, size);
    try {
      const part = await from.file.slice(offset, end).arrayBuffer();
      if (from !== chosen) return;
      say("part", from, { offset }, [part]);
      update(end < size ? `${name}: ${megabytes(end)} of ${megabytes(size)}` : `${name} is read`);
    } catch (error) {
      console.warn("The file has been moved or changed since it was chosen", error);
      say("unreadable", from, { name });
    }
  }

  function receive(message) {
    if (message.choice !== chosen?.choice) return;
    if (message.kind === "wanted") send(chosen, message.offset);
    if (message.kind === "end") {
      chosen = null;
      update();
    }
  }

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // the same file, corrected, can be chosen again
    if (!file) return;
    chosen = { file, choice: unique() };
    say("chosen", chosen, { name: file.name, size: file.size });
    update(`${file.name} is sent`);
  });
  const renew = () => chosen || update();
  model.on("change", renew);
  model.on("msg:custom", receive);
  update();
  return () => {
    model.off("change", renew);
    model.off("msg:custom", receive);
    chosen = null;
  };
}

export default { render };
