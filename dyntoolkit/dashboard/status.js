// The status line: two regions that stay in the page, so that screen readers announce what appears in them.
// It also describes the dashboard's sliders and folds to them.

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

// Nor does it tell whether a fold is open, but by the sign that its button begins with.
function tellFold(button) {
  const open = String(button.textContent.startsWith("▾"));
  if (button.getAttribute("aria-expanded") !== open) button.setAttribute("aria-expanded", open);
}

const PATIENCE = 3000; // ms that a connection may be lost before the reader is told
const LOOK_EVERY = 5000; // ms between two looks at the server: a network that is cut says nothing
const ENDED = new Set(["dead", "restarting", "autorestarting", "terminating"]);
const USELESS =
  ".dyn-controls, .dyn-buttons, .dyn-lapse-row, .dyn-actions, .dyn-controls-run, .dyn-notes, .dyn-take, " +
  ".dyn-compare > .dyn-fold, .dyn-compare-row, .dyn-pins button";

// Whether the server still knows a kernel; null if it does not answer.
async function isKnown(kernel) {
  try {
    const address = `${kernel.serverSettings.baseUrl}api/kernels/${kernel.id}`;
    return (await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(LOOK_EVERY) })).ok;
  } catch {
    return null;
  }
}

// Nobody waits for an attempt to reconnect, JupyterLab's own or ours, and the reader is told by the watch.
const NO_CONNECTION = new Set(["Kernel connection disconnected", "Kernel connection is disposed", "Kernel is dead"]);

function expectDisconnection(event) {
  if (NO_CONNECTION.has(event.reason?.message)) event.preventDefault();
}

// Says when the kernel, or the way to it, is lost and found: tell("live" | "lost" | "ended"). Returns what ends that.
function startWatch(kernel, tell) {
  let told = "live";
  let timer = null;
  const say = (what) => {
    if (what === told || told === "ended") return;
    told = what;
    if (told === "ended") clearInterval(timer);
    tell(told);
  };
  const look = async () => {
    if (document.visibilityState === "hidden") return;
    const known = await isKnown(kernel);
    if (known === false) say("ended");
    else say(known && kernel.connectionStatus === "connected" ? "live" : "lost");
    if (known && !kernel.isDisposed && kernel.connectionStatus === "disconnected") kernel.reconnect(); // it has given up by itself
  };
  const onConnection = () => setTimeout(look, kernel.connectionStatus === "connected" ? 0 : PATIENCE);
  const onStatus = (_, status) => ENDED.has(status) && say("ended");
  timer = setInterval(look, LOOK_EVERY);
  kernel.connectionStatusChanged.connect(onConnection);
  kernel.statusChanged.connect(onStatus);
  return () => {
    clearInterval(timer);
    kernel.connectionStatusChanged.disconnect(onConnection);
    kernel.statusChanged.disconnect(onStatus);
  };
}

// The same for each status line of a page; all of them share one watch, and so one question to the server at a time.
function watchKernel(kernel, tell) {
  if (!kernel?.connectionStatusChanged) return () => {};
  if (!globalThis.dyntoolkitWatches) {
    globalThis.dyntoolkitWatches = new WeakMap();
    addEventListener("unhandledrejection", expectDisconnection); // for good: what has ended may say so late
  }
  const watches = globalThis.dyntoolkitWatches;
  if (!watches.has(kernel)) {
    const watch = { state: "live", listeners: new Set() };
    watch.stop = startWatch(kernel, (now) => {
      watch.state = now;
      watch.listeners.forEach((listener) => listener(now));
    });
    watches.set(kernel, watch);
  }
  const watch = watches.get(kernel);
  watch.listeners.add(tell);
  if (watch.state !== "live") tell(watch.state);
  return () => {
    watch.listeners.delete(tell);
    if (watch.listeners.size > 0) return;
    watch.stop();
    watches.delete(kernel);
  };
}

// What the reader is told. On a page of Voila the settings of the last run can be taken to a new kernel.
function sayLoss(line, what, model) {
  if (what === "lost") {
    line.textContent = "The connection to the server is lost. This page looks for it, and goes on when it is back.";
    return;
  }
  const shown = model.get("settings");
  line.textContent = `What this page computes with has ended.${shown ? ` The figure shows ${shown}.` : ""} `;
  const again = document.createElement("a");
  if ("voila" in document.body.dataset) {
    again.href = `${location.pathname}?${model.get("link")}`;
    again.textContent = "Start again";
    line.append(again, " with these settings.");
  } else {
    line.append("Run the notebook again from its first cell.");
  }
}

function render({ model, el }) {
  const news = region("status");
  const alarm = region("alert");
  alarm.className = "dyn-error";
  el.replaceChildren(news, alarm);
  const watch = new MutationObserver((changes) => changes.forEach(({ target }) => describe(target)));
  let state = "live";
  const update = () => {
    if (state !== "live") return;
    const text = model.get("text");
    news.textContent = model.get("error") ? "" : text;
    alarm.textContent = model.get("error") ? text : "";
  };
  const describeNew = () => {
    for (const handle of el.closest(".dyn-dashboard")?.querySelectorAll('[role="slider"]:not([aria-label])') ?? []) {
      describe(handle);
      watch.observe(handle, { attributeFilter: ["aria-valuetext"] });
    }
    el.closest(".dyn-dashboard")?.querySelectorAll(".dyn-fold").forEach(tellFold);
  };
  // Sliders may be made at any time, and this line is in the page only when it has a size.
  const arrivals = new MutationObserver(describeNew);
  const place = new ResizeObserver(() => {
    const dashboard = el.closest(".dyn-dashboard");
    if (dashboard) arrivals.observe(dashboard, { childList: true, subtree: true });
    describeNew();
  });
  place.observe(el);
  const stopWatching = watchKernel(model.widget_manager?.kernel, (now) => {
    state = now;
    const dashboard = el.closest(".dyn-dashboard");
    dashboard?.classList.toggle("dyn-lost", now !== "live");
    for (const part of dashboard?.querySelectorAll(USELESS) ?? []) part.inert = now !== "live";
    news.textContent = "";
    if (now === "live") update();
    else sayLoss(alarm, now, model);
  });
  model.on("change", update);
  update();
  return () => {
    model.off("change", update);
    stopWatching();
    [watch, arrivals, place].forEach((observer) => observer.disconnect());
  };
}

export default { render };
