// A button for a file of data. The file goes to the kernel in parts, each when the kernel asks for it: servers close the
// connection of a page that sends a large message.

const PART = 2 ** 19; // bytes; `dyntoolkit serve` takes messages of 2 ** 20

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

function element(tag, className, attributes = {}) {
  const made = document.createElement(tag);
  made.className = className;
  return Object.assign(made, attributes);
}

function render({ model, el }) {
  const view = crypto.randomUUID?.() ?? String(Math.random());
  const note = element("span", "dyn-file-note", { id: `dyn-file-${view}` });
  const button = element("button", "jupyter-button", { type: "button", textContent: "Choose a CSV file" });
  const input = element("input", "", { type: "file", accept: ".csv,.tsv,.txt,text/csv", hidden: true });
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "Your data");
  button.setAttribute("aria-describedby", note.id);
  el.append(element("span", "dyn-file-label", { textContent: "Your data:" }), button, input, note);

  let sent = null; // the file on its way
  const say = (kind, more = {}, buffers = []) => model.send({ kind, view, ...more }, undefined, buffers);
  const update = (progress = "") => {
    button.disabled = sent !== null || model.get("disabled");
    note.textContent = progress || model.get("file") || `at most ${megabytes(model.get("limit"))}`;
  };

  async function send(file, offset) {
    const end = Math.min(offset + PART, file.size);
    try {
      const part = await file.slice(offset, end).arrayBuffer();
      if (file !== sent) return;
      say("part", { offset }, [part]);
      update(end < file.size ? `${file.name}: ${megabytes(end)} of ${megabytes(file.size)}` : `${file.name} is read`);
    } catch (error) {
      console.error(error); // it has been moved or changed since it was chosen
      say("unreadable", { name: file.name });
    }
  }

  function receive(message) {
    if (message.view !== view) return;
    if (message.kind === "wanted" && sent) send(sent, message.offset);
    if (message.kind === "end") {
      sent = null;
      update();
    }
  }

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    sent = input.files[0] ?? null;
    input.value = ""; // the same file, corrected, can be chosen again
    if (!sent) return;
    say("chosen", { name: sent.name, size: sent.size });
    update(`${sent.name} is sent`);
  });
  const renew = () => sent || update();
  model.on("change", renew);
  model.on("msg:custom", receive);
  update();
  return () => {
    model.off("change", renew);
    model.off("msg:custom", receive);
    sent = null;
  };
}

export default { render };
