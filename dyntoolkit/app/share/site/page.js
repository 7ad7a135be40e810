// What the theme leaves out for those who use no mouse, on every page.

// What is wider than the page can be moved with the keys, and what is not is no stop for them.
const makeReachable = () => {
  for (const el of document.querySelectorAll("pre, .dyn-formula, .table-wrapper")) {
    if (el.scrollWidth > el.clientWidth) el.tabIndex = 0;
    else el.removeAttribute("tabindex");
  }
};

for (const caption of document.querySelectorAll('.caption[role="heading"]')) caption.setAttribute("aria-level", "2");
new ResizeObserver(makeReachable).observe(document.body);
