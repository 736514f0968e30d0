// The views to write and to edit a post.

import { h } from "./dom.js";
import { draft, dropDraft, keepDraft, NEW_POST } from "./drafts.js";
import { form } from "./forms.js";
import { forgetLists } from "./lists.js";
import { mayChange } from "./people.js";
import { call } from "./session.js";
import { go, notice } from "./shell.js";
import { message } from "./view.js";

const TITLE_LENGTH_MAX = 200;
const POST_LENGTH_MAX = 20_000;

export function openNew() {
  return editor({
    title: "New post",
    name: NEW_POST,
    submit: "Publish",
    busy: "Publishing …",
    back: "/",
    save: (values) => call("blog", "POST", "/v1/posts", values),
    done: "Post published.",
  });
}

export async function openEdit(visit, id) {
  const post = await call("blog", "GET", `/v1/posts/${id}`, undefined, visit);
  if (!mayChange(post.author)) {
    const link = h("a", { href: `/posts/${id}` }, "Read the post");
    return message("You cannot edit this post", "Only its author and moderators can.", link);
  }
  return editor({
    title: "Edit post",
    name: `post ${id}`,
    saved: post,
    submit: "Save",
    busy: "Saving …",
    back: `/posts/${id}`,
    save: (values) => call("blog", "PATCH", `/v1/posts/${id}`, values),
    done: "Changes saved.",
  });
}

function editor({ title, name, saved, submit, busy, back, save, done }) {
  const found = draft(name);
  const values = found ?? saved ?? { title: "", body: "" };
  const discard = h(
    "a",
    { class: "button", href: back, onclick: () => dropDraft(name) },
    "Discard",
  );
  const { element } = form({
    fields: [
      {
        name: "title",
        label: "Title",
        value: values.title,
        limit: TITLE_LENGTH_MAX,
        oneLine: true,
        look: "headline",
      },
      {
        name: "body",
        label: "Text",
        type: "textarea",
        value: values.body,
        limit: POST_LENGTH_MAX,
        rows: 14,
        look: "page",
        hint: "Markdown: **bold**, *italic*, # heading, - list, > quote, [link](https://…). Ctrl + Enter submits.",
        preview: "post",
      },
    ],
    submit,
    busy,
    beside: [discard],
    changed: (typed) => keepDraft(name, typed),
    async act(typed) {
      const post = await save(typed);
      dropDraft(name);
      forgetLists();
      notice(done);
      go(`/posts/${post.id}`, { replace: true });
    },
  });
  const restored = found && h("p", { class: "kept" }, "Restored from your draft.");
  return { title, content: [h("h1", {}, title), restored, element].filter(Boolean) };
}
