// Lists of posts, and one post with its comments.

import { comments } from "./comments.js";
import { h } from "./dom.js";
import { dropDraft } from "./drafts.js";
import { sentencesByField } from "./error_texts.js";
import { confirmAction, form } from "./forms.js";
import { firstPage, forgetLists, fromHere, list } from "./lists.js";
import { byline, mayChange } from "./people.js";
import { rich } from "./rich_text.js";
import { call, session } from "./session.js";
import { go, notice } from "./shell.js";
import { rebuiltPerUser } from "./view.js";

const PATH = "/v1/posts";
const SEARCH_LENGTH_MAX = 200;

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
      h(
        "div",
        { class: "head" },
        h("h1", { class: "overline" }, "Latest posts"),
        h("a", { href: "/search" }, "Search"),
      ),
      postList(path, first, { empty }).element,
    ],
  };
}

/** Open the view that searches for words. */
export async function openSearch(visit) {
  const words = (new URLSearchParams(location.search).get("q") ?? "").trim();
  const { element, controls } = form({
    fields: [
      {
        name: "q",
        label: "Words",
        type: "search",
        value: words,
        limit: SEARCH_LENGTH_MAX,
        hint: "All of them. “Words in quotes” are next to each other; -word is not in the post.",
      },
    ],
    submit: "Search",
    busy: "Searching …",
    act: ({ q }) => go(`/search?q=${encodeURIComponent(q)}`),
  });
  const content = [h("h1", {}, "Search"), element];
  if (!words) return { title: "Search", content };
  const path = fromHere(`${PATH}?q=${encodeURIComponent(words)}`);
  try {
    const found = postList(path, await firstPage(path, visit), {
      empty: h("p", { class: "empty" }, "No post has these words."),
    });
    content.push(found.element);
  } catch (error) {
    if (error.status !== 422) throw error;
    controls.q.show(Object.values(sentencesByField(error))[0]);
  }
  return { title: `Search: ${words}`, content };
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
