"""report.html in a real browser, from file://, with scripts off: what a reader must find."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cpmspec.judge.catalogue import Catalogue
from cpmspec.report import render

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
pytest.importorskip("playwright", reason="playwright is absent: pip install playwright")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}: apt install chromium")

FAILED = "case-TP_CPM_PF_DLV_V_031-pager-pull"


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser that runs no script and has no network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        context = browser.new_context(java_script_enabled=False, offline=True)
        yield context.new_page()
        browser.close()


def test_a_reader_finds_what_he_needs(page: Page, run_folder: Path, templates: Path, catalogue: Catalogue) -> None:
    report, *_ = render(run_folder, templates, catalogue)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(report.as_uri())
    assert page.locator("#verdict").inner_text() == "not conformant"

    row = page.locator("[id='req-DLV-2.1']")
    assert "8.3.2.4.3 step 2" in row.inner_text()
    row.get_by_role("link", name="TP_CPM_PF_DLV_V_031-pager-pull").click()
    assert page.url.endswith(f"#{FAILED}-f13")

    message = page.locator(f"[id='{FAILED}-f13']")
    assert message.locator("pre").is_visible(), "the offending message is open"
    assert "Content-Type: message/cpim" in message.locator("pre").inner_text()
    assert "DLV-2.1" in message.locator("summary").inner_text()
    ladder = page.locator(f"[id='{FAILED}'] .ladder")
    assert [name.inner_text() for name in ladder.locator(".parties b").all()] == [
        "Originator", "Core", "PF (IUT)", "Client", "Store",
    ]  # fmt: skip
    first = ladder.locator("details").first
    assert not first.locator("pre").is_visible()
    first.locator("summary").click()
    assert "Grüße, see you at nine" in first.locator("pre").inner_text()
    assert requested == [report.as_uri()], "nothing is fetched"


def test_arrows_stand_on_the_lifelines(page: Page, run_folder: Path, templates: Path, catalogue: Catalogue) -> None:
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.goto(render(run_folder, templates, catalogue)[0].as_uri())
    ladder = page.locator(f"[id='{FAILED}'] .ladder")
    middles = []
    for name in ladder.locator(".parties b").all():
        box = name.bounding_box()
        assert box is not None
        middles.append(box["x"] + box["width"] / 2)
    arrow = page.locator(f"[id='{FAILED}-f13'] .a").bounding_box()
    assert arrow is not None
    assert arrow["x"] == pytest.approx(middles[2], abs=3), "from the IUT"
    assert arrow["x"] + arrow["width"] == pytest.approx(middles[3], abs=3), "to the client"


def test_cases_can_be_filtered_without_a_script(
    page: Page, run_folder: Path, templates: Path, catalogue: Catalogue
) -> None:
    page.goto(render(run_folder, templates, catalogue)[0].as_uri())
    shown = page.locator("details.case:visible")
    assert shown.count() == 6
    page.locator("label", has=page.locator("#show-fail")).click()
    assert shown.count() == 1
    page.locator("label", has=page.locator("#show-all")).click()
    assert shown.count() == 6
