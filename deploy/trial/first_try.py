"""A first try: a mail is caught, and its link verifies the address; the APIs have their pages."""

from typing import Any, Final

from deploy.trial.containers import AUTH_PORT, BLOG_PORT, Containers, require
from deploy.trial.people import Person, ask, follow_an_event

MAIL_PORT: Final = 18025


def run(containers: Containers) -> None:
    """Start, sign up, open the link of the mail, and look at the pages."""
    containers.settings["MAIL_PORT"] = str(MAIL_PORT)
    containers.start()
    person = follow_an_event(containers)
    containers.wait("the mail is caught", lambda: _mails_to(person))

    [mail] = _mails_to(person)
    text = ask(MAIL_PORT, "GET", f"/api/v1/message/{mail['ID']}").body["Text"]
    _, found, token = text.partition(f"http://127.0.0.1:{AUTH_PORT}/link#verify_email=")
    require(found, f"no link: {text}")
    opened = ask(AUTH_PORT, "POST", "/v1/email/verify", {"token": token.split()[0]})
    require(opened.status == 204, f"the link: {opened}")
    own = ask(AUTH_PORT, "GET", "/v1/me", headers={"Authorization": f"Bearer {person.token}"})
    require(own.body["email_verified"], f"the address is not verified: {own}")
    containers.say(f"'{mail['Subject']}': its link has verified the address")

    for port in (AUTH_PORT, BLOG_PORT):
        require("swagger" in ask(port, "GET", "/docs").body, f"no documentation at {port}")


def _mails_to(person: Person) -> list[Any]:
    found = ask(MAIL_PORT, "GET", "/api/v1/messages").body["messages"]
    return [mail for mail in found if [to["Address"] for to in mail["To"]] == [person.email]]
