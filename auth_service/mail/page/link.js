// Uses the link of a mail: verifies an address, undoes a change of it, or sets a new password.

const ACTIONS = {
  verify_email: {
    title: "Confirm your e-mail address",
    path: "v1/email/verify",
    body: (token) => ({ token }),
    done: "Your address is confirmed. You can close this page.",
  },
  email_change: {
    title: "Undo a change of address",
    path: "v1/email/restore",
    body: (token) => ({ token }),
    done: "Your address is restored and all devices are signed out. Open the mail that lets you choose a new password.",
  },
  reset_password: {
    title: "Choose a new password",
    path: "v1/password/reset",
    body: (token) => ({ token, new_password: password.value }),
    done: "Your new password is set. You can close this page and sign in.",
  },
};

const ERRORS = {
  email_taken: "Another account now has this address. First choose a new password for that account.",
  invalid_link: "This link has already been used or has expired. Request a new one.",
  too_many_requests: "Too many attempts. Wait a minute and try again.",
};

const RETRY = "Something went wrong. Try again in a moment.";

const password = document.getElementById("password");
const shown = document.getElementById("shown");
const status = document.getElementById("status");
const heading = document.querySelector("h1");
const forms = document.querySelectorAll("form");

// The token is stored only here, while the page is open.
let action;
let token;

/** Read purpose and token from the address, and remove them from it. */
function readLink() {
  const [, purpose, found] = /^#(\w+)=([\w-]+)$/.exec(location.hash) ?? [];
  if (!location.hash && action) return;
  history.replaceState(null, "", location.pathname);
  action = Object.hasOwn(ACTIONS, purpose ?? "") ? ACTIONS[purpose] : undefined;
  token = found;
  for (const form of forms) form.hidden = !action || form.id !== purpose;
  if (action) {
    heading.textContent = document.title = action.title;
    show("");
  } else {
    show("This link is incomplete. Open it from the mail again.");
  }
}

function show(text) {
  status.textContent = text;
}

/** Use the link; return the message to show, and whether the link is used up. */
async function useLink() {
  const response = await fetch(action.path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(action.body(token)),
    credentials: "omit",
    cache: "no-store",
  });
  if (response.ok) return [action.done, true];
  const problem = await response.json();
  if (problem.code === "weak_password") return [problem.detail ?? problem.title, false];
  return [ERRORS[problem.code] ?? RETRY, problem.code === "invalid_link"];
}

for (const form of forms) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    show("One moment …");
    const [text, isUsedUp] = await useLink().catch(() => [RETRY, false]);
    button.disabled = false;
    show(text);
    if (!isUsedUp) return;
    form.hidden = true;
    password.value = token = "";
    status.focus();
  });
}

shown.addEventListener("change", () => {
  password.type = shown.checked ? "text" : "password";
});

// Another link of the same page, opened in the same tab, changes only the part after the #.
addEventListener("hashchange", readLink);
readLink();
