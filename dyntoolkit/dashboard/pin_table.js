// The pinned runs and the present one: a table of what differs, with a button in each row that unpins its run.

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function button(textContent, label, unpin) {
  const made = element("button", { type: "button", className: "jupyter-button", textContent });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", unpin);
  return made;
}

function row({ name, color, label, cells }, heads, unpin) {
  const swatch = element("span", { className: "dyn-swatch" });
  swatch.style.color = color;
  const title = element("th", { scope: "row" }, swatch, name);
  if (label) title.append(element("small", { textContent: `control: ${label}` }));
  const values = cells.map((textContent, k) => {
    const cell = element("td", { textContent });
    cell.dataset.head = heads[k];
    return cell;
  });
  const end = unpin ? [button("Unpin", `Unpin ${name}`, unpin)] : [];
  return element("tr", {}, title, ...values, element("td", {}, ...end));
}

function render({ model, el }) {
  const send = (numbers) => {
    try {
      model.send({ kind: "unpin", numbers });
    } catch (error) {
      console.warn("The kernel is gone", error);
    }
  };

  function draw() {
    const heads = model.get("heads");
    const [now, ...pinned] = model.get("rows");
    if (!now) return;
    const all = button("Unpin all", "Unpin all runs", () => send(pinned.map((_, k) => k)));
    const titles = ["run", ...heads].map((textContent) => element("th", { scope: "col", textContent }));
    const head = element("thead", {}, element("tr", {}, ...titles, element("td", {}, all)));
    const rows = [row(now, heads), ...pinned.map((each, k) => row(each, heads, () => send([k])))];
    const focused = [...el.querySelectorAll("button")].indexOf(document.activeElement);
    const caption = element("caption", { textContent: "Pinned runs: where they differ, and their claims" });
    el.replaceChildren(element("table", {}, caption, head, element("tbody", {}, ...rows)));
    const buttons = [...el.querySelectorAll("button")];
    if (focused >= 0) buttons[Math.min(focused, buttons.length - 1)]?.focus(); // with the keyboard one goes on from here
  }

  model.on("change:rows", draw);
  draw();
  return () => model.off("change:rows", draw);
}

export default { render };
