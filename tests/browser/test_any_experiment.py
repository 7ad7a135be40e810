"""The page that shows the experiment its address names, and what a page without code leaves out."""

import re

import pytest
from dashboards import Dashboard

pytestmark = pytest.mark.browser


def test_a_link_names_the_experiment_its_settings_and_its_seed(browser_page, dyntoolkit_server):
    dashboard = Dashboard(browser_page, "condensation.directions")
    query = "experiment=condensation.directions&init_scale=0.01&seed=3"
    browser_page.goto(f"{dyntoolkit_server}/voila/render/experiment.ipynb?{query}")
    dashboard.wait_until_finished(what="seed 3")
    assert dashboard.value("init_scale") == "0.01"
    assert dashboard.empty_panels() == []
    before = dashboard.numbers()
    with dashboard.run_to_the_end():
        dashboard.press("init_scale", "ArrowLeft")
        dashboard.wait_for_new_curve(before)


def test_a_link_to_an_experiment_that_there_is_not_says_so_and_shows_the_first(browser_page, dyntoolkit_server):
    name = "<script>document.title='taken'</script>"
    browser_page.goto(f"{dyntoolkit_server}/voila/render/experiment.ipynb?experiment={name}&lr=0.1")
    browser_page.get_by_text("Not followed in this link:").wait_for()
    Dashboard(browser_page, "label_noise.linear").wait_until_finished()
    assert browser_page.title() != "taken"


def test_cells_to_change_are_left_out_of_a_page_without_code(browser_page, dyntoolkit_server):
    browser_page.goto(f"{dyntoolkit_server}/voila/render/condensation.ipynb")
    Dashboard(browser_page).wait_until_finished()
    browser_page.get_by_role("heading", name="With your own hands").wait_for()
    browser_page.get_by_text("left out of a page without code").wait_for()
    assert browser_page.get_by_text(re.compile("change a number or a line")).count() == 0
    assert browser_page.locator("[class*=dyn-experiment-mine]").count() == 0
