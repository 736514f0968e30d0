// Lists of posts, and one post with its comments.

import { comments } from "./comments.js";
import { h } from "./dom.js";
import { dropDraft } from "./drafts.js";
import { confirmAction } from "./forms.js";
import { firstPage, forgetLists, fromHere, list } from "./lists.js";
import { byline, mayChange } from "./people.js";
import { rich } from "./rich_text.js";
import { call, session } from "./session.js";
import { go, notice } from "./shell.js";
import { rebuiltPerUser } from "./view.js";

const PATH = "/v1/posts";

/** Open the view of all posts, newest first. */
export async function openPosts(visit) {
  const path = fromHere(PATH);
  const first = await firstPage(path, visit);
  const empty = h(
    "div",
    { class: "blank" },
    h("p", {}, "There are no posts yet."),
    h("a", { class: "button primary", href: "/write" }, "Write the first post"),
  );
  return {
    title: "Latest posts",
    content: [
      h("h1", { class: "overline" }, "Latest posts"),
      postList(path, first, { empty }).element,
    ],
  };
}

/** Build a list of posts; with `isOwn`, on the author's page, without the author's name. */
export function postList(path, first, { empty, isOwn = false }) {
  return list(path, first, {
    className: "posts",
    more: "More posts",
    count: (number) => `${number} more ${number === 1 ? "post" : "posts"}`,
    empty,
    entry: (post) =>
      h(
        "li",
        {},
        h(
          "article",
          {},
          h(
            isOwn ? "h3" : "h2",
            { class: "title", dir: "auto" },
            h("a", { href: `/posts/${post.id}` }, post.title),
          ),
          byline(post.author, post.created_at, { editedAt: post.updated_at, isOwn }),
          h("p", { class: "excerpt", dir: "auto" }, post.excerpt),
        ),
      ),
  });
}

/** Open the view of one post with its comments. */
export async function openPost(visit, id) {
  const path = `${PATH}/${id}`;
  const listed = fromHere(`${path}/comments`);
  const [post, first] = await Promise.all([
    call("blog", "GET", path, undefined, visit),
    firstPage(listed, visit),
  ]);
  const actions = rebuiltPerUser(visit.signal, () =>
    mayChange(post.author)
      ? [
          h("a", { class: "button", href: `/posts/${id}/edit` }, "Edit"),
          h(
            "button",
            { type: "button", class: "secondary", onclick: () => remove(post) },
            "Delete",
          ),
        ]
      : [],
  );
  actions.className = "actions";
  return {
    title: post.title,
    content: [
      h(
        "article",
        { class: "post" },
        h("h1", { dir: "auto" }, post.title),
        byline(post.author, post.created_at, { editedAt: post.updated_at }),
        rich(post.body_html),
        actions,
      ),
      comments(post, listed, first, visit.signal),
    ],
  };
}

async function remove(post) {
  const own = session.user?.id === post.author.id;
  const isDone = await confirmAction({
    title: "Delete this post?",
    text: [
      h("q", { dir: "auto" }, post.title),
      own ? "" : "You are deleting another user's post.",
      "The post and all its comments are deleted permanently.",
    ].filter(Boolean),
    submit: "Delete post",
    busy: "Deleting …",
    act: () => call("blog", "DELETE", `${PATH}/${post.id}`),
  });
  if (!isDone) return;
  forgetLists();
  dropDraft(`post ${post.id}`);
  notice("Post deleted.");
  go("/", { replace: true });
}
