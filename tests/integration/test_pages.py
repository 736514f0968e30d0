"""The pages of both services: what a browser is given, and what it is forbidden."""

import re
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

import service_kit.http.problems
from blog_service import texts
from blog_service.settings import ApiSettings
from service_kit.http.problems import Code
from service_kit.http.static_pages import MEDIA_TYPES, page_routes
from tests.support.blog_api import blog_api
from tests.support.builders import SOURCE
from tests.support.processes import run

ROOT = Path(__file__).parents[2]
WEB = ROOT / "blog_service" / "web"

BYTES_MAX = 100_000
"""Of the blog's page with all that it loads: a second over a slow line."""

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' https:",
    "connect-src": f"'self' {SOURCE}",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}


def files() -> Iterator[Path]:
    """All files of pages, of either service."""
    for service in ("auth_service", "blog_service", "replica", "service_kit"):
        for path in sorted((ROOT / service).rglob("*")):
            if path.suffix in MEDIA_TYPES:
                yield path


@pytest.fixture
async def blog(blog_url: str, public_pem: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the blog's API."""
    settings = ApiSettings(database_url=blog_url, public_key=public_pem, issuer=SOURCE)
    async with blog_api(settings) as client:
        yield client


def of_the_page() -> dict[str, str]:
    """The paths of the blog's page and its files, with their media types."""
    paths = {
        f"/web/{path.name}": MEDIA_TYPES[path.suffix] for path in WEB.iterdir() if is_file(path)
    }
    return {"/": MEDIA_TYPES[".html"], **paths}


def is_file(path: Path) -> bool:
    """Whether the page loads it."""
    return path.suffix in MEDIA_TYPES and path.suffix != ".html"


async def test_page_may_do_its_own_work_and_no_more(blog: httpx.AsyncClient) -> None:
    """Scripts of its own alone, which call both services; pictures from elsewhere and no more."""
    for path, kind in of_the_page().items():
        answer = await blog.get(path)

        assert answer.status_code == 200, path
        assert answer.headers["Content-Type"] == kind
        policy = answer.headers["Content-Security-Policy"]
        assert dict(rule.split(" ", 1) for rule in policy.split("; ")) == POLICY
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"


async def test_interactive_documentation_is_there_when_asked_for_and_runs_its_own_scripts(
    blog: httpx.AsyncClient, blog_url: str, public_pem: str
) -> None:
    """By default there is none; its policy lets nothing come from elsewhere."""
    assert (await blog.get("/docs")).status_code == 404
    settings = ApiSettings(database_url=blog_url, public_key=public_pem, issuer=SOURCE, docs=True)
    async with blog_api(settings) as client:
        page = await client.get("/docs")
        loaded = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text)
        answers = [await client.get(path) for path in loaded]

    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert "https:" not in page.headers["Content-Security-Policy"]
    assert len(answers) == 3
    assert [answer.status_code for answer in answers] == [200] * 3


@pytest.mark.parametrize("path", ["/", "/console"])
async def test_pages_know_the_auth_service_by_its_address_and_not_by_its_name(
    blog_url: str, public_pem: str, path: str
) -> None:
    """The issuer stays when the address changes; the policy lets nothing go to the former one."""
    settings = ApiSettings(
        database_url=blog_url,
        public_key=public_pem,
        issuer=SOURCE,
        auth_public_url="https://new.example:8443/auth/",
    )
    async with blog_api(settings) as client:
        page = await client.get(path)

    assert '<meta name="auth" content="https://new.example:8443/auth">' in page.text
    assert SOURCE not in page.text
    [rule] = [
        rule
        for rule in page.headers["Content-Security-Policy"].split("; ")
        if rule.startswith("connect-src ")
    ]
    assert rule == "connect-src 'self' https://new.example:8443"


async def test_what_a_browser_has_is_not_sent_again(blog: httpx.AsyncClient) -> None:
    """It asks each time, and is told that nothing has changed, with the headers of before."""
    first = await blog.get("/web/app.js")
    tag = first.headers["ETag"]

    for held in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        again = await blog.get("/web/app.js", headers={"If-None-Match": held})

        assert again.status_code == 304, held
        assert again.content == b""
        assert again.headers["ETag"] == tag
        for name in ("Content-Security-Policy", "Cache-Control"):
            assert again.headers[name] == first.headers[name]


async def test_what_has_changed_is_sent(blog: httpx.AsyncClient) -> None:
    """Another file has another tag."""
    tag = (await blog.get("/web/app.js")).headers["ETag"]

    other = await blog.get("/web/page.css", headers={"If-None-Match": tag})

    assert other.status_code == 200
    assert other.headers["ETag"] != tag


async def test_page_is_told_where_accounts_are(blog: httpx.AsyncClient) -> None:
    """The issuer, and what becomes of what a deleted user wrote."""
    page = (await blog.get("/")).text

    assert f'<meta name="auth" content="{SOURCE}">' in page
    assert '<meta name="deleted-authors" content="remove">' in page


async def test_a_value_is_text_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a setting holds, it begins no element."""
    package = tmp_path / "a_page"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.html").write_text('<meta content="$value">')
    monkeypatch.syspath_prepend(tmp_path)

    [route] = page_routes("a_page", at="/a", files_at="/a/", values={"value": '"><script>'})
    transport = httpx.ASGITransport(route)
    async with httpx.AsyncClient(transport=transport, base_url="http://a.test") as client:
        page = (await client.get("/a")).text

    assert page == '<meta content="&quot;&gt;&lt;script&gt;">'


async def test_no_page_is_in_the_openapi(blog: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    """The document describes the API."""
    for client in (blog, api):
        described = (await client.get("/openapi.json")).json()["paths"]

        assert all(path.startswith(("/v1/", "/oauth/", "/.well-known/")) for path in described)


@pytest.mark.parametrize(
    "path", [path for path in files() if path.suffix == ".html"], ids=lambda path: path.name
)
def test_nothing_in_a_page_would_be_blocked(path: Path) -> None:
    """No script, style or listener in its text."""
    page = path.read_text()

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script[^>]*>[^<]|javascript:", page)


@pytest.mark.parametrize(
    "path", [path for path in files() if path.suffix == ".js"], ids=lambda path: path.name
)
def test_no_script_reads_text_as_html(path: Path) -> None:
    """What makes elements or code of a string has no place: what a user wrote would run."""
    script = path.read_text()

    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|srcdoc|document\.write|DOMParser"
        r"|createContextualFragment|\beval\(|new Function|set(Timeout|Interval)\([\"'`]",
        script,
    )


def test_all_that_the_page_loads_is_there_and_asked_for_at_once() -> None:
    """Modules import what exists; each is named in the page, so that no one waits for another."""
    page = (WEB / "index.html").read_text()
    named = set(re.findall(r'(?:src|href)="/web/([^"]+)"', page))
    imported = {
        name
        for path in WEB.glob("*.js")
        for name in re.findall(r'from "\./([^"]+)"', path.read_text())
    }

    assert named == {path.name for path in WEB.iterdir() if is_file(path)}
    assert imported < named


def test_page_is_small() -> None:
    """All of it together."""
    assert (
        sum(path.stat().st_size for path in WEB.iterdir() if path.suffix in MEDIA_TYPES) < BYTES_MAX
    )


def test_what_people_are_told_is_about_codes_that_there_are() -> None:
    """A code that is misspelled would never be met."""
    codes = {
        code.name for code in vars(service_kit.http.problems).values() if isinstance(code, Code)
    }
    [told] = re.findall(
        r"const BY_CODE = \{(.*?)\n\};", (WEB / "error_texts.js").read_text(), re.DOTALL
    )

    said = set(re.findall(r"^  (\w+): ", told, re.MULTILINE))

    assert len(said) > 10
    assert said <= codes


def test_texts_may_be_as_long_as_the_blog_takes_them() -> None:
    """Whoever wrote too much is told before he sends it, and nobody else is."""
    scripts = "".join(path.read_text() for path in WEB.glob("*.js"))
    told = dict(re.findall(r"^const (\w+_LENGTH_MAX) = ([\d_]+);$", scripts, re.MULTILINE))
    limits = {name: value for name, value in vars(texts).items() if name.endswith("_LENGTH_MAX")}

    assert {name: int(value) for name, value in told.items()} == limits


def test_pages_are_part_of_the_package(tmp_path: Path) -> None:
    """Whoever installs the wheel has the pages too."""
    built = run(f"hatchling build -t wheel -d {tmp_path}", {}, ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")

    names = zipfile.ZipFile(wheel).namelist()

    assert {str(path.relative_to(ROOT)) for path in files()} <= set(names)
