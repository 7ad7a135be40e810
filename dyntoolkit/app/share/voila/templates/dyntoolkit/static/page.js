// A notebook's page: stored outputs first, and live ones in their places as soon as there is something to see.
// Loaded before the notebook's text.

((page, plotlyUrl) => {
  const PATIENCE = 20000; // ms that a live output may take to show something, before it is shown as it is
  const REST = 2000; // ms between two questions whether there is a place
  const GLANCE = 100; // ms between two looks for what is to come
  const waiting = new Set(); // live outputs that have nothing to show yet
  let isLive = false; // all that is in sight

  const news = (text, bad = false) => {
    const line = page.querySelector("#dyn-news");
    line.textContent = text;
    line.classList.toggle("dyn-bad", bad);
  };

  // The page is there, up to its text.
  function begin() {
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const follow = () => {
      page.body.dataset.jpThemeLight = String(!dark.matches);
      page.body.dataset.jpThemeName = dark.matches ? "JupyterLab Dark" : "JupyterLab Light";
    };
    follow();
    const address = new URL(location.href);
    if (address.searchParams.has("_ticket")) {
      address.searchParams.delete("_ticket"); // it has been used
      history.replaceState(history.state, "", address);
    }
    dark.addEventListener("change", follow);
    news("These are stored pictures; the page is becoming live.");
  }

  // plotly.js, once for all boards of the page (see board.js), over HTTP, where it is kept under its version.
  async function loadPlotly() {
    const shared = { askedAt: -Infinity, arriving: true };
    shared.plotly = new Promise((resolve) => {
      shared.resolve = resolve;
    });
    globalThis.dyntoolkitPlotly = shared;
    try {
      await fetch(plotlyUrl, { priority: "low" }); // a script element would hold up the page's load event
      const script = page.createElement("script");
      await new Promise((resolve, reject) => {
        Object.assign(script, { src: plotlyUrl, onload: resolve, onerror: reject });
        page.head.append(script);
      });
      shared.resolve(globalThis.Plotly);
    } catch (error) {
      console.warn("plotly.js is asked for from the kernel instead", error);
      shared.arriving = false;
    }
  }

  const cellOf = (k) => page.querySelector(`.dyn-cell[data-cell="${k}"]`);

  // Output that has not arrived; a widget of which there is only the text "Loading widget...".
  const ARRIVING = 'script[type="application/vnd.voila.cell-output+json"], .lm-Panel.jp-OutputArea-output:not(:has(*))';

  // Whether a live output has something to show that is better than what is stored. Where nothing is, that may be what
  // stands for a dashboard that nobody has come near to: it takes its height, so that text does not jump later.
  function isReady(live) {
    if (live.querySelector(ARRIVING)) return false;
    const stored = [...live.parentElement.children].some((each) => each !== live && each.offsetHeight > 0);
    if (!stored) return live.offsetHeight > 0;
    if (live.querySelector(".dyn-placeholder")) return false;
    const boards = [...live.querySelectorAll(".dyn-board .dyntoolkit-board")];
    if (live.querySelector(".dyn-dashboard")) {
      const alarm = live.querySelector(".dyn-status [role=alert]")?.textContent;
      return boards.some((board) => Number(board.dataset.frame) > 0) || Boolean(alarm);
    }
    return live.offsetHeight > 0;
  }

  // Change the page without moving what the reader looks at: the first cell in sight that is not the changed one.
  function keepingPlace(cell, change) {
    const below = [...page.querySelectorAll(".dyn-cell")].find(
      (each) => each.getBoundingClientRect().bottom > 0 && each.offsetHeight > 0,
    );
    const anchor = below === cell ? null : below;
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (anchor) window.scrollBy({ top: anchor.getBoundingClientRect().top - before, behavior: "instant" });
  }

  function show(live) {
    const cell = live.parentElement;
    waiting.delete(live);
    keepingPlace(cell, () => {
      for (const stored of cell.querySelectorAll(":scope > :not(.dyn-live)")) stored.remove();
      live.inert = false;
    });
  }

  function look() {
    for (const live of waiting) if (isReady(live)) show(live);
    if (isLive || [...waiting].some((each) => !each.querySelector(".dyn-placeholder"))) return;
    isLive = true;
    news("");
    arrive();
    setTimeout(setFormulas); // when what has been shown is drawn
  }

  // The dashboard of the experiment that the address names comes into sight, if its reader has not gone elsewhere.
  async function arrive() {
    const name = new URL(location.href).searchParams.get("experiment");
    if (!name) return;
    const selector = `.${CSS.escape(`dyn-experiment-${name.replaceAll(".", "-")}`)}`;
    const last = Date.now() + PATIENCE;
    while (!page.querySelector(selector) && Date.now() < last) {
      await new Promise((resolve) => {
        setTimeout(resolve, GLANCE);
      });
    }
    const named = page.querySelector(selector);
    if (!named) news(`This link is for the experiment “${name.slice(0, 80)}”, which is not on this page.`, true);
    else if (window.scrollY === 0 && named !== page.querySelector("[class*=dyn-experiment-]")) named.scrollIntoView();
  }

  // The output of cell k has arrived.
  function place(k) {
    const live = page.querySelector(`[data-live="${k}"]`);
    let cell = cellOf(k);
    if (!cell) {
      // there is no stored view
      cell = page.createElement("div");
      cell.className = "dyn-cell";
      cell.dataset.cell = k;
      page.querySelector("main").append(cell);
    }
    cell.append(live);
    if (live.childElementCount === 0) {
      live.remove();
      cell.replaceChildren();
    } else if (live.inert) {
      waiting.add(live);
      setTimeout(() => {
        if (waiting.has(live) && !live.querySelector(".dyn-placeholder")) show(live);
        look();
      }, PATIENCE);
    }
  }

  // Formulas, readable already, once more as MathJax sets them. It takes a third of a second, in which no slider moves:
  // so not before there is all that can be moved. Where Voila tells nobody of its MathJax, they stay as they are.
  async function setFormulas() {
    const manager = await globalThis.jupyterapp?.widgetManagerPromise?.promise;
    const typesetter = manager?.rendermime?.latexTypesetter;
    const stored = [...page.querySelectorAll(".dyn-tex")];
    if (!typesetter || stored.length === 0) return;
    const host = page.createElement("div");
    host.id = "dyn-formulas";
    host.className = "jp-RenderedHTMLCommon jp-RenderedMarkdown";
    const sources = stored.map(({ dataset }) => {
      const span = page.createElement("span");
      const mark = dataset.display === "block" ? "$$" : "$";
      span.textContent = mark + dataset.tex + mark;
      return span;
    });
    host.append(...sources);
    page.body.append(host);
    await typesetter.typeset(host);
    for (const cell of page.querySelectorAll(".dyn-cell:has(.dyn-tex)")) {
      keepingPlace(cell, () => {
        stored.forEach((span, k) => cell.contains(span) && span.replaceChildren(...sources[k].childNodes));
      });
    }
    host.remove();
  }

  // Before printing: tell the style sheet how wide each formula of its own line is, so that the paper cuts none.
  function measureFormulas() {
    for (const formula of page.querySelectorAll('.dyn-tex[data-display="block"]')) {
      const math = formula.querySelector("mjx-math, math");
      const ems = math.getBoundingClientRect().width / Number(getComputedStyle(math).fontSize.replace("px", ""));
      formula.style.setProperty("--ems", ems);
    }
  }

  // There are as many pages as the server can take: wait in line, then come again, with the ticket.
  async function wait(ticket, base) {
    for (;;) {
      try {
        const answer = await fetch(`${base}dyntoolkit/place?ticket=${encodeURIComponent(ticket)}`);
        const { ahead } = await answer.json();
        if (ahead === 0) break;
        const others = ahead === 1 ? "one page has" : `${ahead} pages have`;
        news(`These are stored pictures. Many people are here: the page becomes live when ${others} been closed.`);
      } catch {
        news("These are stored pictures; the server does not answer.", true);
      }
      await new Promise((resolve) => {
        setTimeout(resolve, REST);
      });
    }
    const address = new URL(location.href);
    address.searchParams.set("_ticket", ticket);
    location.replace(address);
  }

  // Nothing on this page becomes live: it is the gallery, or there is no kernel to be had.
  function end(gallery) {
    if (gallery) news("");
    else news("This page cannot become live: no kernel could be started. Text and pictures are as stored.", true);
  }

  function allPlaced() {
    const watch = new MutationObserver(() => {
      look();
      if (waiting.size === 0) watch.disconnect();
    });
    watch.observe(page.querySelector("main"), {
      childList: true,
      subtree: true,
      characterData: true,
      attributeFilter: ["data-frame"],
    });
    look();
  }

  if (plotlyUrl) loadPlotly();
  window.addEventListener("beforeprint", measureFormulas);
  globalThis.dynPage = { begin, place, allPlaced, wait, end };
})(document, document.currentScript.dataset.plotly);
