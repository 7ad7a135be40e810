"""What axe-core finds on a page that keeps people from using it."""

from importlib.resources import files

from playwright.sync_api import Page

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def serious(page: Page, within: str = "html") -> list[str]:
    """The serious and critical findings within an element of the page: rule, and the first element that breaks it."""
    page.evaluate(AXE)
    found = page.evaluate("within => axe.run(within, { preload: false, resultTypes: ['violations'] })", within)[
        "violations"
    ]
    heavy = [finding for finding in found if finding["impact"] in ("serious", "critical")]
    return [f"{finding['id']}: {finding['nodes'][0]['html'][:300]}" for finding in heavy]
