// The status line: two regions that stay in the page, so that screen readers announce what appears in them.
// It also describes the dashboard's sliders to them.

function region(role) {
  const line = document.createElement("div");
  line.setAttribute("role", role);
  line.setAttribute("aria-live", role === "alert" ? "assertive" : "polite");
  return line;
}

// ipywidgets gives a slider neither a name nor, where it moves over a list, the value that it stands for.
function describe(handle) {
  const field = handle.closest(".dyn-field");
  const readout = field?.querySelector(".widget-readout");
  if (readout && field.classList.contains("dyn-list")) readout.tabIndex = -1; // it looks editable to the browser, and is not
  const label = field?.querySelector(".widget-label")?.textContent;
  const value = readout?.textContent;
  if (label) handle.setAttribute("aria-label", label);
  if (value && handle.getAttribute("aria-valuetext") !== value) handle.setAttribute("aria-valuetext", value);
}

function render({ model, el }) {
  const news = region("status");
  const alarm = region("alert");
  alarm.className = "dyn-error";
  el.replaceChildren(news, alarm);
  const watch = new MutationObserver((changes) => changes.forEach(({ target }) => describe(target)));
  const update = () => {
    const text = model.get("text");
    news.textContent = model.get("error") ? "" : text;
    alarm.textContent = model.get("error") ? text : "";
  };
  const describeNew = () => {
    for (const handle of el.closest(".dyn-dashboard")?.querySelectorAll('[role="slider"]:not([aria-label])') ?? []) {
      describe(handle);
      watch.observe(handle, { attributeFilter: ["aria-valuetext"] });
    }
  };
  // Sliders may be made at any time, and this line is in the page only when it has a size.
  const arrivals = new MutationObserver(describeNew);
  const place = new ResizeObserver(() => {
    const dashboard = el.closest(".dyn-dashboard");
    if (dashboard) arrivals.observe(dashboard, { childList: true, subtree: true });
    describeNew();
  });
  place.observe(el);
  model.on("change", update);
  update();
  return () => {
    model.off("change", update);
    [watch, arrivals, place].forEach((observer) => observer.disconnect());
  };
}

export default { render };
