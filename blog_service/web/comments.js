// The comments below a post: reading, writing, changing and deleting them.

import { h } from "./dom.js";
import { draft, dropDraft, keepDraft } from "./drafts.js";
import { confirmAction, form } from "./forms.js";
import { list } from "./lists.js";
import { byline, mayChange } from "./people.js";
import { rich } from "./rich_text.js";
import { call, session } from "./session.js";
import { announce } from "./shell.js";
import { rebuiltPerUser } from "./view.js";

const COMMENT_LENGTH_MAX = 5_000;

/** Build the section of comments; `first` is the first page of them, which `listed` leads to. */
export function comments(post, listed, first, signal) {
  const heading = h("h2", { id: "comments", tabindex: "-1" }, "Comments");
  const shown = list(listed, first, {
    className: "comments",
    more: "More comments",
    count: (number) => `${number} more ${number === 1 ? "comment" : "comments"}`,
    empty: h("p", { class: "empty" }, "No comments yet."),
    entry: (comment) => h("li", {}, reading(comment)),
  });

  function reading(comment) {
    const actions = rebuiltPerUser(signal, () =>
      mayChange(comment.author)
        ? [
            h(
              "button",
              { type: "button", class: "plain", onclick: () => edit(comment, actions) },
              "Edit",
            ),
            h(
              "button",
              { type: "button", class: "plain", onclick: () => remove(comment) },
              "Delete",
            ),
          ]
        : [],
    );
    actions.className = "small actions";
    return h(
      "article",
      {},
      byline(comment.author, comment.created_at, { editedAt: comment.updated_at }),
      rich(comment.body_html),
      actions,
    );
  }

  function edit(comment, actions) {
    const name = `comment ${comment.id}`;
    const article = actions.closest("article");
    const stop = () => {
      editor.element.replaceWith(article);
      dropDraft(name);
      actions.querySelector("button")?.focus();
    };
    const editor = form({
      fields: [{ ...FIELD, label: "Edit your comment", value: draft(name)?.body ?? comment.body }],
      submit: "Save",
      busy: "Saving …",
      beside: [h("button", { type: "button", class: "secondary", onclick: stop }, "Cancel")],
      changed: (values) => keepDraft(name, values),
      async act({ body }) {
        const changed = await call("blog", "PATCH", `/v1/comments/${comment.id}`, { body });
        dropDraft(name);
        shown.replace(changed).querySelector("button")?.focus();
        announce("Comment saved");
      },
    });
    article.replaceWith(editor.element);
    editor.controls.body.input.focus();
  }

  async function remove(comment) {
    const isDone = await confirmAction({
      title: "Delete this comment?",
      text: ["This cannot be undone."],
      submit: "Delete comment",
      busy: "Deleting …",
      act: () => call("blog", "DELETE", `/v1/comments/${comment.id}`),
    });
    if (!isDone) return;
    shown.remove(comment.id);
    heading.focus();
    announce("Comment deleted");
  }

  function writing() {
    const name = `comment on ${post.id}`;
    if (!session.user) {
      return [
        h(
          "p",
          { class: "invitation" },
          h("a", { href: "/sign-in" }, "Sign in"),
          " or ",
          h("a", { href: "/sign-up" }, "sign up"),
          " to comment.",
        ),
      ];
    }
    const { element, clear } = form({
      fields: [{ ...FIELD, label: "Write a comment", value: draft(name)?.body ?? "" }],
      submit: "Comment",
      busy: "Sending …",
      changed: (values) => keepDraft(name, values),
      async act({ body }) {
        const comment = await call("blog", "POST", `/v1/posts/${post.id}/comments`, { body });
        dropDraft(name);
        clear();
        shown.add(comment);
        announce("Comment posted");
      },
    });
    return [element];
  }

  return h(
    "section",
    { class: "talk", "aria-labelledby": "comments" },
    heading,
    shown.element,
    rebuiltPerUser(signal, writing),
  );
}

const FIELD = {
  name: "body",
  type: "textarea",
  rows: 4,
  limit: COMMENT_LENGTH_MAX,
  preview: "comment",
};
