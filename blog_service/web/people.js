// How users are shown, and the profile of the signed-in user.

import { h, time } from "./dom.js";
import { call, restore, session } from "./session.js";

export const DISPLAY_NAME_LENGTH_MAX = 50;

/** The blog's profile of the signed-in user; null until it is loaded. */
export const me = Object.assign(new EventTarget(), { profile: null });

export function setProfile(profile) {
  me.profile = profile;
  me.dispatchEvent(new Event("change"));
}

session.addEventListener("change", async () => {
  const { user } = session;
  if (me.profile && me.profile.id !== user?.id) setProfile(null);
  if (!user || me.profile) return;
  try {
    const profile = await call("blog", "GET", "/v1/me");
    if (session.user?.id === profile.id) setProfile(profile);
  } catch {
    // Without a profile the user is shown as a reader; the next action reports the error.
  }
});

let restoring = null;

/** Restore the browser's session, once; resolves to the error that prevented it, or null. */
export function restored({ again = false } = {}) {
  if (again) restoring = null;
  restoring ??= restore().then(
    () => null,
    (error) => error,
  );
  return restoring;
}

/** Return the user's name; users without one are shown as readers. */
export function nameOf(author) {
  return author.display_name ?? `Reader ${author.id.slice(0, 6)}`;
}

export function mayChange(author) {
  const { user } = session;
  if (!user) return false;
  return user.id === author.id || user.roles.some((role) => ["moderator", "admin"].includes(role));
}

/** Show the user's picture, or initials if there is none or it does not load. */
export function avatar(author, size = "") {
  const round = h("span", {
    class: `avatar ${size}`,
    "aria-hidden": "true",
    "data-hue": hue(author),
  });
  const initials = initialsOf(author);
  if (author.avatar_url?.startsWith("https://")) {
    // Attributes before the URL: they apply to the request.
    const image = h("img", {
      alt: "",
      loading: "lazy",
      referrerpolicy: "no-referrer",
      decoding: "async",
      width: 40,
      height: 40,
    });
    image.addEventListener("error", () => image.replaceWith(initials));
    image.src = author.avatar_url;
    round.append(image);
  } else {
    round.append(initials);
  }
  return round;
}

/** Show the author's picture, linked name and the time; with `isOwn`, the time alone. */
export function byline(author, iso, { editedAt, isOwn = false } = {}) {
  const edited = editedAt && Date.parse(editedAt) > Date.parse(iso);
  const when = h("span", { class: "when" }, time(iso), edited && " · edited");
  if (isOwn) return h("p", { class: "byline" }, when);
  const name = author.id
    ? h("a", { class: "name", href: `/users/${author.id}`, dir: "auto" }, nameOf(author))
    : h("span", { class: "name gone" }, nameOf(author));
  return h("p", { class: "byline" }, avatar(author), name, when);
}

function initialsOf(author) {
  if (!author.id) return "–";
  if (!author.display_name) return author.id.slice(0, 2).toUpperCase();
  const words = author.display_name.trim().split(/\s+/);
  const letters = [words[0], words.length > 1 ? words.at(-1) : ""].map(
    (word) => [...word][0] ?? "",
  );
  return letters.join("").toUpperCase();
}

/** Return one of eight colours, always the same for a user. */
function hue(author) {
  return author.id ? Number.parseInt(author.id.slice(0, 2), 16) % 8 : "none";
}
