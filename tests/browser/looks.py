"""What a page looks like, judged in the browser: each script gives the places where something is wrong."""

from playwright.sync_api import Page

VISIBLE = """(node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true })
  && node.getBoundingClientRect().width > 1"""

STICKING_OUT = f"""() => {{
  const visible = {VISIBLE};
  const wide = [...document.querySelectorAll("main *")].filter((node) =>
    visible(node) && !node.closest("pre, mjx-container, svg") && node.getBoundingClientRect().right > innerWidth + 1);
  const scrolled = [...document.querySelectorAll("html, body, body *")].filter((node) =>
    /auto|scroll/.test(getComputedStyle(node).overflowX) && node.scrollWidth > node.clientWidth + 1
    && !node.closest("pre, mjx-container"));
  return [...wide, ...scrolled].map((node) => `${{node.tagName}} ${{node.className}}`);
}}"""

LABELS = "button, .widget-label, .widget-readout, .dyn-progress .widget-html-content"
CUT = f"""() => [...document.querySelectorAll("{LABELS}")]
  .filter({VISIBLE})
  .filter((node) => node.textContent.trim()) // nothing cannot be cut
  .filter((node) => node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 3)
  .map((node) => node.textContent)"""

# Contrast as the Web Content Accessibility Guidelines define it, of every text with what is behind it. The colours of
# code are those of JupyterLab's theme.
FAINT = f"""(least) => {{
  const visible = {VISIBLE};
  const paper = new OffscreenCanvas(1, 1).getContext("2d", {{ willReadFrequently: true }});
  const paint = (colors) => {{
    paper.fillStyle = "white";
    for (const color of ["white", ...colors]) {{ paper.fillStyle = color; paper.fillRect(0, 0, 1, 1); }}
    return [...paper.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  }};
  const luminance = (rgb) => rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (node) => node ? [...behind(node.parentElement), getComputedStyle(node).backgroundColor] : [];
  const contrast = (node) => {{
    const style = getComputedStyle(node), ground = behind(node);
    const ink = node instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [paint(ground), paint([...ground, ink])].map(luminance).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }};
  const own = (node) => [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
  return [...document.querySelectorAll("main *")]
    .filter((node) => !node.matches("style, script, pre *, mjx-container *") && own(node) && visible(node))
    .filter((node) => contrast(node) < least)
    .map((node) => `${{node.textContent.slice(0, 40)}}: ${{contrast(node).toFixed(1)}}`);
}}"""

# What has the keyboard's focus, by its name, and whether it looks different for it.
FOCUSED = """() => {
  const node = document.activeElement;
  const look = () => {
    const { outline, boxShadow, borderColor, backgroundColor } = getComputedStyle(node);
    return JSON.stringify([outline, boxShadow, borderColor, backgroundColor]);
  };
  const name = node.getAttribute("aria-label") ?? node.labels?.[0]?.textContent ?? node.textContent;
  const focused = look();
  node.blur();
  const changed = look() !== focused;
  node.focus();
  return [name, changed];
}"""

INKS = "[...document.querySelectorAll('.xtick text')].map((text) => getComputedStyle(text).fill)"  # of the axes

FITTED = f"""[...document.querySelectorAll(".dyntoolkit-plot")].filter({VISIBLE}).every((plot) =>
  Math.abs(plot._fullLayout?.width - plot.clientWidth) < 1 && plot.getBoundingClientRect().right <= innerWidth)"""


def set_width(page: Page, width: int, height: int) -> None:
    """Give the window this size, and wait until the plots fit."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function(FITTED)
