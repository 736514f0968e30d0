// The own account: how one is shown, address, password, other devices, and the end of it.

import { h } from "./dom.js";
import { ask, form } from "./forms.js";
import { forgetLists } from "./lists.js";
import { avatar, me, nameOf, setProfile } from "./people.js";
import { sentence } from "./error_texts.js";
import {
  call,
  changeEmail,
  changePassword,
  deleteAccount,
  lookAgain,
  session,
  signOut,
} from "./session.js";
import { go, notice } from "./shell.js";

const DISPLAY_NAME_LENGTH_MAX = 50;
const BIO_LENGTH_MAX = 500;
const AVATAR_URL_LENGTH_MAX = 500;

// What becomes of it is a setting of the blog.
const GONE = {
  remove: "Your posts and comments disappear at once, and with each post its comments.",
  keep: "Your posts and comments stay, under the name “deleted user”. If you do not want that, delete them first.",
};

export async function openAccount(visit) {
  setProfile(await call("blog", "GET", "/v1/me", undefined, visit));
  await lookAgain(visit); // a link from a mail may have been opened elsewhere
  return {
    title: "Your account",
    content: [h("h1", {}, "Your account"), profile(visit), email(), password(), devices(), end()],
  };
}

function section(title, ...content) {
  return h("section", { class: "panel" }, h("h2", {}, title), h("div", {}, content));
}

function folded(label, content) {
  return h("details", {}, h("summary", {}, label), content);
}

function profile(visit) {
  const shown = h("div", { class: "preview" });
  const show = () => {
    if (me.profile)
      shown.replaceChildren(
        avatar(me.profile, "large"),
        h("a", { href: `#/users/${me.profile.id}`, dir: "auto" }, nameOf(me.profile)),
      );
  };
  show();
  me.addEventListener("change", show, { signal: visit.signal });
  const { element } = form({
    fields: [
      {
        name: "display_name",
        label: "Display name",
        value: me.profile.display_name ?? "",
        limit: DISPLAY_NAME_LENGTH_MAX,
        oneLine: true,
        optional: true,
        autocomplete: "nickname",
      },
      {
        name: "bio",
        label: "About you",
        type: "textarea",
        rows: 3,
        value: me.profile.bio ?? "",
        limit: BIO_LENGTH_MAX,
        optional: true,
      },
      {
        name: "avatar_url",
        label: "Picture",
        type: "url",
        value: me.profile.avatar_url ?? "",
        limit: AVATAR_URL_LENGTH_MAX,
        optional: true,
        autocomplete: "photo",
        hint: "An address that begins with https://. Readers’ browsers fetch it from there.",
      },
    ],
    submit: "Save profile",
    busy: "Saving …",
    async act(values) {
      const told = Object.entries(values).map(([name, value]) => [name, value.trim() || null]);
      const body = Object.fromEntries(told);
      // As browsers write it, which is ASCII whatever was typed.
      if (body.avatar_url) body.avatar_url = new URL(body.avatar_url).href;
      setProfile(await call("blog", "PATCH", "/v1/me", body));
      forgetLists();
      notice("Your profile is saved.");
    },
  });
  return section(
    "Profile",
    h("p", { class: "quiet" }, "What everybody sees beside what you write."),
    shown,
    element,
  );
}

function email() {
  const state = h("p", { class: "quiet" });
  const again = h("button", { type: "button", class: "plain" }, "Send the mail again");
  const show = () => {
    const { email: address, email_verified: isVerified, pending_email: pending } = session.user;
    const waits = pending
      ? [" Open the link in the mail to ", h("strong", {}, pending), " to change it. "]
      : [];
    state.replaceChildren(
      "It is ",
      h("strong", {}, address),
      isVerified ? ", confirmed." : ", not confirmed yet. ",
      ...waits,
      ...(isVerified && !pending ? [] : [again]),
    );
  };
  again.addEventListener("click", async () => {
    try {
      await call("auth", "POST", "/v1/me/email/verification");
      notice("The mail is on its way. Open the link in it.");
    } catch (error) {
      notice(sentence(error));
    }
  });
  show();
  const { element, clear } = form({
    fields: [
      { name: "email", label: "New e-mail address", type: "email", autocomplete: "email" },
      {
        name: "password",
        label: "Your password",
        type: "password",
        autocomplete: "current-password",
      },
    ],
    submit: "Change address",
    busy: "Changing …",
    about: { email_taken: "email", invalid_email: "email", wrong_password: "password" },
    async act({ email: address, password: shown }) {
      await changeEmail(address, shown);
      clear();
      show();
      notice(
        session.user.pending_email
          ? "A mail is on its way to the new address. Open the link in it to change your address."
          : "Your address is changed.",
      );
    },
  });
  return section("E-mail address", state, folded("Change the address", element));
}

function password() {
  const { element, clear } = form({
    fields: [
      {
        name: "current",
        label: "Current password",
        type: "password",
        autocomplete: "current-password",
      },
      {
        name: "wanted",
        label: "New password",
        type: "password",
        autocomplete: "new-password",
        hint: "Long beats complicated: a few words that only you would put together.",
      },
    ],
    submit: "Change password",
    busy: "Changing …",
    about: { wrong_password: "current", weak_password: "wanted" },
    async act({ current, wanted }) {
      await changePassword(current, wanted);
      clear();
      notice("Your password is changed, and all other devices are signed out.");
    },
  });
  return section("Password", folded("Change the password", element));
}

function devices() {
  const out = (scope, label, busy, said) =>
    form({
      submit: label,
      busy,
      quiet: true,
      async act() {
        await signOut(scope);
        notice(said);
      },
    }).element;
  return section(
    "Devices",
    h(
      "p",
      { class: "quiet" },
      "You stay signed in on each device until you sign out there, or here.",
    ),
    h(
      "div",
      { class: "beside" },
      out(
        "others",
        "Sign out all others",
        "Signing out …",
        "All your other devices are signed out.",
      ),
      out("local", "Sign out here", "Signing out …", "You are signed out."),
    ),
  );
}

function end() {
  const what = GONE[document.querySelector('meta[name="deleted-authors"]').content];
  const button = h("button", { type: "button", class: "danger" }, "Delete account …");
  button.addEventListener("click", async () => {
    let known;
    const isDone = await ask({
      title: "Delete your account?",
      text: [
        "Your e-mail address, your password and your profile are erased, here and in every service that has a copy.",
        what,
        "Nobody can bring any of it back.",
      ],
      fields: [
        {
          name: "password",
          label: "Your password",
          type: "password",
          autocomplete: "current-password",
        },
      ],
      submit: "Delete my account",
      busy: "Deleting …",
      about: { wrong_password: "password" },
      act: async ({ password: shown }) => {
        known = await deleteAccount(shown);
      },
    });
    if (!isDone) return;
    forgetLists();
    if (known.isGone) {
      notice("Your account is deleted. Farewell.", { stays: true });
      return;
    }
    notice("Your account is deleted. The blog hides what you wrote as soon as it hears of it.", {
      stays: true,
    });
    if ((await known.later) && (location.hash || "#/") === "#/") go("#/", { replace: true });
  });
  return section("Delete account", h("p", { class: "quiet" }, what), button);
}
