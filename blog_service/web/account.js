// The account view: profile, e-mail address, password, devices, and deleting the account.

import { devices } from "./devices.js";
import { h } from "./dom.js";
import { confirmAction, form } from "./forms.js";
import { forgetLists } from "./lists.js";
import { avatar, DISPLAY_NAME_LENGTH_MAX, me, nameOf, setProfile } from "./people.js";
import { sentence } from "./error_texts.js";
import {
  call,
  changeEmail,
  changePassword,
  deleteAccount,
  exportData,
  reloadUser,
  session,
} from "./session.js";
import { go, notice } from "./shell.js";

const BIO_LENGTH_MAX = 500;
const AVATAR_URL_LENGTH_MAX = 500;

const DOWNLOAD_STARTS_WITHIN_MS = 60_000; // the browser may ask first whether to save both

// What happens to posts and comments is a setting of the blog.
const AFTER_DELETION = {
  remove: "Your posts and comments disappear immediately, including all comments on your posts.",
  keep: "Your posts and comments stay under the name “deleted user”. To remove them, delete them first.",
};

export async function openAccount(visit) {
  setProfile(await call("blog", "GET", "/v1/me", undefined, visit));
  await reloadUser(visit); // a link from an e-mail may have been opened elsewhere
  return {
    title: "Your account",
    content: [
      h("h1", {}, "Your account"),
      profile(visit),
      email(),
      password(),
      section("Devices", ...devices(visit)),
      data(),
      deletion(),
    ],
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
        h("a", { href: `/users/${me.profile.id}`, dir: "auto" }, nameOf(me.profile)),
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
        hint: "The https:// URL of an image. Readers’ browsers load it from there.",
      },
    ],
    submit: "Save profile",
    busy: "Saving …",
    async act(values) {
      const trimmed = Object.entries(values).map(([name, value]) => [name, value.trim() || null]);
      const body = Object.fromEntries(trimmed);
      // The browser's normal form of a URL is always ASCII.
      if (body.avatar_url) body.avatar_url = new URL(body.avatar_url).href;
      setProfile(await call("blog", "PATCH", "/v1/me", body));
      forgetLists();
      notice("Profile saved.");
    },
  });
  return section(
    "Profile",
    h("p", { class: "quiet" }, "Shown next to your posts and comments."),
    shown,
    element,
  );
}

function email() {
  const state = h("p", { class: "quiet" });
  const resend = h("button", { type: "button", class: "plain" }, "Resend the e-mail");
  const show = () => {
    const { email: address, email_verified: isVerified, pending_email: pending } = session.user;
    const waits = pending
      ? [" Open the link in the e-mail to ", h("strong", {}, pending), " to change it. "]
      : [];
    state.replaceChildren(
      h("strong", {}, address),
      isVerified ? " (confirmed)" : " (not confirmed) ",
      ...waits,
      ...(isVerified && !pending ? [] : [resend]),
    );
  };
  resend.addEventListener("click", async () => {
    try {
      await call("auth", "POST", "/v1/me/email/verification");
      notice("E-mail sent. Open the link in it.");
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
    async act({ email: address, password: current }) {
      await changeEmail(address, current);
      clear();
      show();
      notice(
        session.user.pending_email
          ? "E-mail sent to the new address. Open the link in it to change your address."
          : "E-mail address changed.",
      );
    },
  });
  return section("E-mail address", state, folded("Change your address", element));
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
        hint: "Length matters more than symbols: a few unrelated words work well.",
      },
    ],
    submit: "Change password",
    busy: "Changing …",
    about: { wrong_password: "current", weak_password: "wanted" },
    async act({ current, wanted }) {
      await changePassword(current, wanted);
      clear();
      notice("Password changed. All other devices have been signed out.");
    },
  });
  return section("Password", folded("Change your password", element));
}

function data() {
  const { element, clear } = form({
    fields: [
      {
        name: "current",
        label: "Password",
        type: "password",
        autocomplete: "current-password",
      },
    ],
    submit: "Download",
    busy: "Collecting …",
    about: { wrong_password: "current" },
    async act({ current }) {
      for (const [service, archive] of Object.entries(await exportData(current)))
        save(archive, `${service}.zip`);
      clear();
      notice("Your data: one archive of your account, one of the blog.");
    },
  });
  return section("Your data", folded("Download a copy of your data", element));
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), DOWNLOAD_STARTS_WITHIN_MS);
}

function deletion() {
  const what = AFTER_DELETION[document.querySelector('meta[name="deleted-authors"]').content];
  const button = h("button", { type: "button", class: "danger" }, "Delete account …");
  button.addEventListener("click", async () => {
    let known;
    const isDone = await confirmAction({
      title: "Delete your account?",
      text: [
        "Your e-mail address, password and profile are erased, here and in every service that has a copy.",
        what,
        "This cannot be undone.",
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
      act: async ({ password: current }) => {
        known = await deleteAccount(current);
      },
    });
    if (!isDone) return;
    forgetLists();
    if (known.isGone) {
      notice("Your account has been deleted.", { lasts: true });
      return;
    }
    notice("Your account has been deleted. The blog will reflect this shortly.", { lasts: true });
    if ((await known.later) && location.pathname === "/") go("/", { replace: true });
  });
  return section("Delete account", h("p", { class: "quiet" }, what), button);
}
