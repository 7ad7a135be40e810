// Stands where widgets are going to be, and says "near" while it is within about a screen's height of what is seen,
// until it is heard: right after a page is opened the connection may lose a message, and the kernel does not know.

const FIRST_REST = 1000; // ms until it says so again; then twice as long, and so on
const LONGEST_REST = 30000;

// What a reader scrolls to move this: an element of the page (in JupyterLab), or null for the page itself. The outermost
// one: a cell's output may scroll within it.
function scroller(node) {
  let found = null;
  for (let outer = node.parentElement; outer && outer !== document.body; outer = outer.parentElement) {
    const scrolls = /auto|scroll/u.test(getComputedStyle(outer).overflowY) && outer.scrollHeight > outer.clientHeight;
    if (scrolls) found = outer;
  }
  return found;
}

function words(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function picture(bytes) {
  const made = document.createElement("img");
  made.alt = "The figure as it is stored";
  made.src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  made.addEventListener("load", () => URL.revokeObjectURL(made.src));
  return made;
}

function render({ model, el }) {
  let rest = FIRST_REST;
  let timer = null;
  const say = () => {
    try {
      model.send({ kind: "near" });
    } catch (error) {
      console.warn("The kernel is gone, or the page is being left", error);
    }
    timer = setTimeout(say, rest);
    rest = Math.min(2 * rest, LONGEST_REST);
  };
  const heed = (entries) => {
    clearTimeout(timer);
    rest = FIRST_REST;
    if (entries.at(-1).isIntersecting) say();
  };
  let watch = null;
  const end = () => {
    clearTimeout(timer);
    watch?.disconnect();
    place.disconnect();
  };
  // It is in the page only when it has a size. Watched is the box that it is in, which is going to be the dashboard's.
  const place = new ResizeObserver(() => {
    clearTimeout(timer);
    watch?.disconnect();
    if (!el.parentElement) return;
    watch = new IntersectionObserver(heed, { root: scroller(el), rootMargin: "100%" });
    watch.observe(el.parentElement);
  });
  const update = () => {
    el.replaceChildren(words("strong", model.get("title")), words("p", model.get("text")));
    if (model.get("picture").byteLength) el.append(picture(model.get("picture")));
  };
  const stop = () => model.get("heard") && end();
  model.on("change:text", update);
  model.on("change:heard", stop);
  update();
  if (!model.get("heard")) place.observe(el);
  return () => {
    model.off("change:text", update);
    model.off("change:heard", stop);
    end();
  };
}

export default { render };
