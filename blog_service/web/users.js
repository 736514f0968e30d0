// The public view of an author.

import { h, prose } from "./dom.js";
import { firstPage, fromHere } from "./lists.js";
import { avatar, nameOf } from "./people.js";
import { postList } from "./posts.js";
import { call, session } from "./session.js";
import { rebuiltPerUser } from "./view.js";

const SINCE = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric" });

/** Open the view of an author and their posts. */
export async function openUser(visit, id) {
  const path = fromHere(`/v1/posts?author=${id}`);
  const [user, first] = await Promise.all([
    call("blog", "GET", `/v1/users/${id}`, undefined, visit),
    firstPage(path, visit),
  ]);
  const name = nameOf(user);
  const own = rebuiltPerUser(visit.signal, () =>
    session.user?.id === id
      ? [h("a", { class: "button", href: "/account" }, "Edit your profile")]
      : [],
  );
  return {
    title: name,
    content: [
      h(
        "header",
        { class: "person" },
        avatar(user, "large"),
        h("h1", { dir: "auto" }, name),
        user.created_at &&
          h("p", { class: "quiet" }, `Joined ${SINCE.format(new Date(user.created_at))}`),
        user.bio && prose(user.bio),
        own,
      ),
      h(
        "section",
        { "aria-labelledby": "posts" },
        h("h2", { id: "posts", class: "overline" }, "Posts"),
        postList(path, first, { empty: h("p", { class: "empty" }, "No posts yet."), isOwn: true })
          .element,
      ),
    ],
  };
}
