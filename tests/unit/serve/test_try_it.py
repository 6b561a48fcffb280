"""The page in a real browser: a form from the schema, the answer as bars, faults by column, a token kept in memory."""

import json
import re
import shlex
import shutil
import subprocess

import pytest
from PIL import Image
from served import served
from small_images import file_of

from raymle.serve import auth, try_it

BROWSER = shutil.which("chromium")


def test_it_is_whole_in_itself_and_says_nothing_of_a_model():
    page = try_it.page()
    assert not re.findall(r"https?://|//cdn|@import|src=|\burl\(", page)
    assert page.count("<script") == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; connect-src 'self'")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage|sessionStorage|cookie", page
    )


@pytest.fixture(scope="module")
def browser():
    if not BROWSER:
        pytest.skip("no browser here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser):
    """A page that fails the test when its script does, or when its own policy stops something."""
    opened = browser.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: "Security" in message.text and complaints.append(message.text))
    yield opened
    opened.close()
    assert not complaints


def shown(page) -> dict[str, str]:
    return {
        each.get_attribute("name"): each.input_value() for each in page.locator("#fields input, #fields select").all()
    }


def test_the_form_has_the_models_columns_filled_with_an_example_that_works(page, tmp_path):
    with served(tmp_path / "log") as (url, _):
        page.goto(url)
        page.wait_for_selector("#row:visible")
        assert page.title() == "churn"
        assert page.inner_text("#about") == "Predicts churned · version 7"
        assert list(shown(page)) == ["amount", "plan", "new", "at"]
        assert shown(page)["plan"] == "basic"
        known = page.eval_on_selector_all("datalist#field-1-known option", "options => options.map(each => each.value)")
        assert known == ["basic", "pro", "<b>{{7*7}}</b>"]
        page.fill("[name=amount]", "75")
        page.click("#predict")
        page.wait_for_selector("#answer:visible")
        assert page.inner_text(".said") == "yes"
        assert page.inner_text(".best").split() == ["yes", "75.0", "%"]
        widths = page.eval_on_selector_all(
            ".bar", "bars => bars.map(each => each.clientWidth / each.parentElement.clientWidth)"
        )
        assert widths == pytest.approx([0.75, 0.25], abs=0.01)
        assert "version 7" in page.inner_text("#from")


def test_faults_stand_at_their_columns_and_go_when_they_are_mended(page, tmp_path):
    with served(tmp_path / "log") as (url, _):
        page.goto(url)
        page.fill("[name=amount]", "lots")
        page.fill("[name=at]", "tomorrow")
        page.click("#predict")
        page.wait_for_selector("#problem:visible")
        assert page.inner_text("#field-0-fault") == '"lots" is not a number'
        assert "not an ISO 8601 time" in page.inner_text("#field-3-fault")
        assert page.locator("[aria-invalid]").count() == 2
        assert page.is_hidden("#answer")
        page.fill("[name=amount]", "")
        page.fill("[name=at]", "")
        page.click("#predict")
        page.wait_for_selector("#answer:visible")
        assert page.locator("[aria-invalid]").count() == 0
        assert page.is_hidden("#problem")


def test_the_command_that_is_shown_gives_the_same_answer(page, tmp_path):
    with served(tmp_path / "log") as (url, _):
        page.goto(url)
        page.fill("[name=plan]", 'it\'s a "plan" <i>')
        page.fill("[name=amount]", "10")
        command = shlex.split(page.inner_text("#curl").replace("\\\n", " "))
        done = subprocess.run([*command, "-s"], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["predictions"][0]["probabilities"]["yes"] == 0.1
        assert page.locator("#curl i").count() == 0


def test_with_tokens_the_page_asks_for_one_and_forgets_it(page, tmp_path):
    token = auth.add(tmp_path / "private" / "tokens.json", "ci")
    with served(tmp_path / "log", "--numbers", "--tokens", str(tmp_path / "private" / "tokens.json")) as (url, _):
        page.goto(url)
        page.wait_for_selector("#entry:visible")
        assert page.is_hidden("#row")
        page.fill("#token", "wrong")
        page.click("#entry button")
        page.wait_for_selector("#problem:visible")
        page.fill("#token", token)
        page.click("#entry button")
        page.wait_for_selector("#row:visible")
        page.fill("[name=amount]", "100")
        page.click("#predict")
        page.wait_for_selector("#answer:visible")
        assert page.inner_text(".said") == "100"
        assert "Authorization: Bearer $TOKEN" in page.inner_text("#curl")
        assert token not in page.inner_text("main")
        page.reload()
        page.wait_for_selector("#entry:visible")
        assert page.input_value("#token") == ""
        assert token not in (tmp_path / "log").read_text()


def test_an_image_is_chosen_shown_and_sent(page, tmp_path):
    light = tmp_path / "light.png"
    light.write_bytes(file_of(Image.new("L", (20, 10), 230)))
    with served(tmp_path / "log", "--photos") as (url, _):
        page.goto(url)
        page.locator("#predict").click()
        page.locator("#answer").wait_for()
        assert page.locator(".said").inner_text() == "no"  # of the example
        page.locator("input[type=file]").set_input_files(str(light))
        page.locator("#fields img[src^='data:image/png']").wait_for()
        page.locator("#predict").click()
        page.get_by_text("yes", exact=True).first.wait_for()
        page.wait_for_function("document.querySelector('.said').textContent === 'yes'")
        command = page.locator("#curl").inner_text()
        assert "--data-binary @image.png" in command
        page.screenshot(path=str(tmp_path / "page.png"))
        words = [word.replace("@image.png", f"@{light}") for word in shlex.split(command) if word.strip()]
        done = subprocess.run([*words, "-s"], capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stdout)["predictions"][0]["class"] == "yes"
