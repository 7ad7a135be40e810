// Stands where widgets are going to be, and says "near" while it is within about a screen's height of what is seen,
// until it is heard: right after a page is opened the connection may lose a message, and the kernel does not know.

const FIRST_REST = 1000; // ms until it says so again; then twice as long, and so on
const LONGEST_REST = 30000;
const NEAR = { rootMargin: "100%", scrollMargin: "100%" }; // of the window, and of what scrolls within it

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
  const watch = new IntersectionObserver((entries) => {
    clearTimeout(timer);
    if (!model.get("heard") && entries.at(-1).isIntersecting) say();
  }, NEAR);
  const update = () => {
    el.replaceChildren(words("strong", model.get("title")), words("p", model.get("text")));
    if (model.get("picture").byteLength) el.append(picture(model.get("picture")));
  };
  const end = () => {
    clearTimeout(timer);
    watch.disconnect();
  };
  const heed = () => model.get("heard") && end();
  model.on("change:text", update);
  model.on("change:heard", heed);
  update();
  if (!model.get("heard")) watch.observe(el);
  return () => {
    model.off("change:text", update);
    model.off("change:heard", heed);
    end();
  };
}

export default { render };
