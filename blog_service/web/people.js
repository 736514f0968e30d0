// People as the blog shows them, and who of them is here.

import { h, time } from "./dom.js";
import { call, restore, session } from "./session.js";

/** The profile of who is signed in, as the blog has it: null until it is known. */
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
    // Without a name he is shown as a reader; whatever he does next says what is wrong.
  }
});

let restoring = null;

/** Whoever this browser has a session of, asked once; why it cannot be told, or null. */
export function restored({ again = false } = {}) {
  if (again) restoring = null;
  restoring ??= restore().then(
    () => null,
    (error) => error,
  );
  return restoring;
}

/** What somebody is called; who chose no name yet is a reader like others. */
export function nameOf(author) {
  return author.display_name ?? `Reader ${author.id.slice(0, 6)}`;
}

export function mayChange(author) {
  const { user } = session;
  if (!user) return false;
  return user.id === author.id || user.roles.some((role) => ["moderator", "admin"].includes(role));
}

/** His picture; initials where he has none, or it cannot be had. */
export function avatar(author, size = "") {
  const round = h("span", {
    class: `avatar ${size}`,
    "aria-hidden": "true",
    "data-hue": hue(author),
  });
  const initials = initialsOf(author);
  if (author.avatar_url?.startsWith("https://")) {
    // Attributes before the address: the request must know them.
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

/** Picture, name with a link, and when; the last alone below the author's own heading. */
export function byline(author, iso, { editedAt, isOwn = false } = {}) {
  const edited = editedAt && Date.parse(editedAt) > Date.parse(iso);
  const when = h("span", { class: "when" }, time(iso), edited && " · edited");
  if (isOwn) return h("p", { class: "byline" }, when);
  const name = author.id
    ? h("a", { class: "name", href: `#/users/${author.id}`, dir: "auto" }, nameOf(author))
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

/** One of eight colours, always the same for the same person. */
function hue(author) {
  return author.id ? Number.parseInt(author.id.slice(0, 2), 16) % 8 : "none";
}
