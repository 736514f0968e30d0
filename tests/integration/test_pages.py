"""The pages of both services: what browsers receive, and what the policy forbids."""

import re
from pathlib import Path

import httpx
import pytest

import auth_service.problems
import blog_service.problems
import service_kit.http.problems
from auth_service.audit.model import Action
from blog_service import texts
from blog_service.settings import ApiSettings
from replica import console
from service_kit.http.problems import Code
from service_kit.http.static_pages import MEDIA_TYPES, page_routes
from tests.support.blog_api import blog_api
from tests.support.builders import SOURCE

ROOT = Path(__file__).parents[2]
WEB = ROOT / "blog_service" / "web"

BYTES_MAX = 100_000
"""The limit for the blog's page with all its files: one second on a slow connection."""

LINK_PAGE = ("/link", "/link/link.js", "/link/link.css")
"""What the auth service serves to people who open the link in a mail."""

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


def files(*kinds: str) -> list[Path]:
    """All files of pages, or those with these suffixes."""
    paths = [
        path
        for service in ("auth_service", "blog_service", "replica", "service_kit")
        for path in sorted((ROOT / service).rglob("*"))
        if path.suffix in (kinds or MEDIA_TYPES)
    ]
    assert paths
    return paths


def page_paths() -> list[str]:
    return ["/", "/write", *(f"/web/{path.name}" for path in WEB.iterdir() if is_file(path))]


def is_file(path: Path) -> bool:
    return path.suffix in MEDIA_TYPES and path.suffix != ".html"


async def test_the_policy_allows_only_what_the_page_needs(
    blog: httpx.AsyncClient, api: httpx.AsyncClient
) -> None:
    """The page of links in mails shows no picture, and asks only its own service."""
    of_links = {name: rule for name, rule in POLICY.items() if name != "img-src"}
    of_links["connect-src"] = "'self'"
    for client, path, policy in (
        *((blog, path, POLICY) for path in page_paths()),
        *((api, path, of_links) for path in LINK_PAGE),
    ):
        response = await client.get(path)

        assert response.status_code == 200, path
        assert response.headers["Content-Type"] == MEDIA_TYPES[Path(path).suffix or ".html"]
        rules = response.headers["Content-Security-Policy"]
        assert dict(rule.split(" ", 1) for rule in rules.split("; ")) == policy
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-cache"


async def test_the_page_of_links_loads_its_files_and_can_be_read_aloud(
    api: httpx.AsyncClient,
) -> None:
    """Each control has a name, and screen readers announce the status."""
    page = (await api.get("/link")).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {f"/{path}" for path in loaded} == {*LINK_PAGE} - {"/link"}
    assert set(re.findall(r'<label for="(\w+)"', page)) == {"password"}
    assert 'role="status"' in page


async def test_the_script_of_links_calls_existing_routes(api: httpx.AsyncClient) -> None:
    script = (await api.get("/link/link.js")).text
    paths = re.findall(r'path: "([^"]+)"', script)
    described = (await api.get("/openapi.json")).json()["paths"]
    assert len(paths) == 3
    assert {f"/{path}" for path in paths} <= described.keys()


async def test_the_api_documentation_is_opt_in_and_loads_only_its_own_scripts(
    blog: httpx.AsyncClient, blog_settings: ApiSettings
) -> None:
    """By default it is a 404; the policy allows no other host."""
    assert (await blog.get("/docs")).status_code == 404
    async with blog_api(blog_settings.model_copy(update={"docs": True})) as client:
        page = await client.get("/docs")
        loaded = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text)
        responses = [await client.get(path) for path in loaded]
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert "https:" not in page.headers["Content-Security-Policy"]
    assert [response.status_code for response in responses] == [200] * 3


async def test_pages_use_the_public_url_of_the_auth_service(blog_url: str, public_pem: str) -> None:
    """The issuer stays when the URL changes; the policy no longer allows the former host."""
    settings = ApiSettings(
        database_url=blog_url,
        public_key=public_pem,
        issuer=SOURCE,
        auth_public_url="https://new.example:8443/auth/",
    )
    async with blog_api(settings) as client:
        pages = [await client.get(path) for path in ("/", *console.PAGES)]

    for page in pages:
        assert '<meta name="auth" content="https://new.example:8443/auth">' in page.text
        assert SOURCE not in page.text
        rules = page.headers["Content-Security-Policy"].split("; ")
        [rule] = [rule for rule in rules if rule.startswith("connect-src ")]
        assert rule == "connect-src 'self' https://new.example:8443"


async def test_each_page_of_the_console_is_linked_and_loads_files_that_exist(
    blog: httpx.AsyncClient,
) -> None:
    """The link says which roles open it, since the frame shows it to them alone."""
    for path in console.PAGES:
        page = (await blog.get(path)).text
        links = dict(re.findall(r'<a href="([^"]+)" data-roles="([^"]+)" hidden>', page))
        assert links.keys() == console.PAGES.keys()
        assert {role for roles in links.values() for role in roles.split()} <= {"operator", "admin"}
        loaded = re.findall(r'(?:src|href)="(/console/[^"]+\.\w+)"', page)
        assert len(loaded) > 1
        assert {(await blog.get(file)).status_code for file in loaded} == {200}


async def test_the_page_that_breaks_things_is_served_beside_a_fault_injector_alone(
    blog_url: str, public_pem: str
) -> None:
    """By default there is no such page, and no page may call an injector."""
    faults = "http://127.0.0.1:8013"
    settings = ApiSettings(database_url=blog_url, public_key=public_pem, issuer=SOURCE)
    async with blog_api(settings) as client:
        page, missing = [await client.get(path) for path in ("/console", "/console/break")]
    async with blog_api(settings.model_copy(update={"faults_url": faults})) as client:
        beside, served = [await client.get(path) for path in ("/console", "/console/break")]

    assert missing.status_code == 404
    assert '<meta name="faults" content="">' in page.text
    assert served.status_code == 200
    for each in (beside, served):
        assert f'<meta name="faults" content="{faults}">' in each.text
        assert f"connect-src 'self' {SOURCE} {faults};" in each.headers["Content-Security-Policy"]


async def test_an_unchanged_file_is_not_sent_again(blog: httpx.AsyncClient) -> None:
    """The browser revalidates each time and gets 304 with the original headers."""
    first = await blog.get("/web/app.js")
    tag = first.headers["ETag"]

    for held in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        again = await blog.get("/web/app.js", headers={"If-None-Match": held})
        assert (again.status_code, again.content) == (304, b""), held
        for name in ("ETag", "Content-Security-Policy", "Cache-Control"):
            assert again.headers[name] == first.headers[name]
    other = await blog.get("/web/page.css", headers={"If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["ETag"] != tag


async def test_the_page_gets_the_issuer_and_the_erasure_setting(blog: httpx.AsyncClient) -> None:
    """Both are meta elements."""
    page = (await blog.get("/")).text
    assert f'<meta name="auth" content="{SOURCE}">' in page
    assert '<meta name="deleted-authors" content="remove">' in page


async def test_a_page_escapes_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_the_openapi_omits_pages(blog: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    for client in (blog, api):
        described = (await client.get("/openapi.json")).json()["paths"]
        assert all(path.startswith(("/v1/", "/oauth/", "/.well-known/")) for path in described)


def test_no_page_contains_what_the_policy_blocks() -> None:
    blocked = re.compile(r"<style|\sstyle=|\son\w+=|<script[^>]*>[^<]|javascript:")
    assert [path for path in files(".html") if blocked.search(path.read_text())] == []


def test_no_script_parses_text_as_html() -> None:
    """Otherwise content of users could run as code."""
    parsing = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|srcdoc|document\.write|DOMParser"
        r"|createContextualFragment|\beval\(|new Function|set(?:Timeout|Interval)\([\"'`]"
    )
    found = [path for path in files(".js") if parsing.search(path.read_text())]
    # It parses into a document apart, and builds again what is listed.
    assert found == [WEB / "rich_text.js"]
    assert parsing.findall(found[0].read_text()) == ["DOMParser"]


async def test_the_page_names_the_files_that_readers_need(blog: httpx.AsyncClient) -> None:
    """A browser loads them at once; those of other views come with the first of these views."""
    at_once = await loaded(blog)
    app = (WEB / "app.js").read_text()
    [table] = re.findall(r"const ROUTES = \[(.*?)\n\]", app, re.DOTALL)
    later = [f"{name}.js" for name in dict.fromkeys(re.findall(r'later\("(\w+)"', table))]
    assert len(later) == 3
    assert not {*later} & at_once
    for name in later:  # grows
        imported = re.findall(r'from "\./([^"]+)"', (WEB / name).read_text())
        later += [each for each in imported if each not in later]
    assert at_once | {*later} == {path.name for path in WEB.iterdir() if is_file(path)}


async def test_the_page_is_small(blog: httpx.AsyncClient) -> None:
    """With all that it loads, before anybody has written anything."""
    sizes = [(WEB / name).stat().st_size for name in await loaded(blog)]
    assert sum(sizes) + len((await blog.get("/")).content) < BYTES_MAX


async def loaded(blog: httpx.AsyncClient) -> set[str]:
    return set(re.findall(r'(?:src|href)="/web/([^"]+)"', (await blog.get("/")).text))


def test_the_error_messages_are_for_existing_codes() -> None:
    codes = {
        code.name
        for module in (service_kit.http.problems, auth_service.problems, blog_service.problems)
        for code in vars(module).values()
        if isinstance(code, Code)
    }
    [table] = re.findall(
        r"const BY_CODE = \{(.*?)\n\};", (WEB / "error_texts.js").read_text(), re.DOTALL
    )

    named = set(re.findall(r"^  (\w+): ", table, re.MULTILINE))

    assert len(named) > 10
    assert named <= codes


def test_the_console_offers_every_action_of_the_audit_log() -> None:
    script = (ROOT / "replica/console/audit.js").read_text()
    [listed] = re.findall(r"^const ACTIONS = \[(.*?)^\];", script, re.MULTILINE | re.DOTALL)
    assert sorted(re.findall(r'"(\w+)"', listed)) == sorted(Action)


def test_the_page_has_the_blogs_text_limits() -> None:
    """Users see that a text is too long before they send it."""
    scripts = "".join(path.read_text() for path in WEB.glob("*.js"))
    table = dict(
        re.findall(r"^(?:export )?const (\w+_LENGTH_MAX) = ([\d_]+);$", scripts, re.MULTILINE)
    )
    limits = {name: value for name, value in vars(texts).items() if name.endswith("_LENGTH_MAX")}
    assert {name: int(value) for name, value in table.items()} == limits
