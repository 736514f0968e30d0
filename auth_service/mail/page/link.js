// What the link in a mail is for: it verifies an address, undoes a change of it, or sets a new password.

const ACTIONS = {
  verify_email: {
    title: "Confirm your e-mail address",
    path: "v1/email/verify",
    body: (token) => ({ token }),
    done: "Thank you, your address is confirmed. You can close this page.",
  },
  email_change: {
    title: "Undo a change of address",
    path: "v1/email/restore",
    body: (token) => ({ token }),
    done: "Your address is back, and all devices are signed out. Please open the mail that lets you choose a new password.",
  },
  reset_password: {
    title: "Choose a new password",
    path: "v1/password/reset",
    body: (token) => ({ token, new_password: password.value }),
    done: "Your new password is set. You can close this page and sign in.",
  },
};

const SAID = {
  email_taken: "Another account has this address by now. Please choose a new password for that account first.",
  invalid_link: "This link was used already, or has expired. Please ask for a new one.",
  too_many_requests: "That was tried too often. Please wait a minute, and try again.",
};

const LATER = "That did not work. Please try again in a moment.";

const password = document.getElementById("password");
const shown = document.getElementById("shown");
const status = document.getElementById("status");
const heading = document.querySelector("h1");
const forms = document.querySelectorAll("form");

// The token is kept here alone, for as long as the page is open.
let action;
let token;

/** Take purpose and token from the address, and leave nothing there to be seen or kept. */
function take() {
  const [, purpose, found] = /^#(\w+)=([\w-]+)$/.exec(location.hash) ?? [];
  if (!location.hash && action) return;
  history.replaceState(null, "", location.pathname);
  action = Object.hasOwn(ACTIONS, purpose ?? "") ? ACTIONS[purpose] : undefined;
  token = found;
  for (const form of forms) form.hidden = !action || form.id !== purpose;
  if (action) {
    heading.textContent = document.title = action.title;
    say("");
  } else {
    say("This link is not complete. Please open it from the mail once more.");
  }
}

function say(text) {
  status.textContent = text;
}

/** Do what the link is for; what to tell about it, and whether it is over. */
async function act() {
  const answer = await fetch(action.path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(action.body(token)),
    credentials: "omit",
    cache: "no-store",
  });
  if (answer.ok) return [action.done, true];
  const problem = await answer.json();
  if (problem.code === "weak_password") return [problem.detail ?? problem.title, false];
  return [SAID[problem.code] ?? LATER, problem.code === "invalid_link"];
}

for (const form of forms) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    say("One moment …");
    const [text, isOver] = await act().catch(() => [LATER, false]);
    button.disabled = false;
    say(text);
    if (!isOver) return;
    form.hidden = true;
    password.value = token = "";
    status.focus();
  });
}

shown.addEventListener("change", () => {
  password.type = shown.checked ? "text" : "password";
});

// Another link of the same page, opened in the same tab, changes what is behind the # alone.
addEventListener("hashchange", take);
take();
