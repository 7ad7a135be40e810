// A slider over the recorded frames. The browser's own: the arrow keys move it by one frame however fast they come, and a
// new range sends nothing back (that of ipywidgets sends the value that it had before, as if somebody had moved it).

function render({ model, el }) {
  const label = document.createElement("label");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = 0;
  slider.setAttribute("aria-label", model.get("label"));
  label.append(model.get("label"), slider);
  el.append(label);
  const update = () => {
    slider.max = model.get("max");
    slider.value = model.get("value");
    slider.disabled = model.get("disabled");
    slider.setAttribute("aria-valuetext", model.get("text"));
  };
  slider.addEventListener("input", () => {
    model.set("value", slider.valueAsNumber);
    model.save_changes();
  });
  model.on("change", update);
  update();
  return () => model.off("change", update);
}

export default { render };
