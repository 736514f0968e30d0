// The page of users: find one, and show them.
//
// Each part of the page shows the user in a place of its own: `show(id)`. The page's address names the
// user by id (#ID), so that it can be shared. What was typed may be an e-mail address, and gets into no
// address.

import { openPage } from "./frame.js";
import { runWithButton } from "./busy_button.js";
import { userActs } from "./user_acts.js";
import { userLife } from "./user_life.js";
import { isId, userSearch } from "./user_search.js";

openPage((page) => {
  const { signal } = page;
  const form = document.getElementById("find-user");
  const problem = document.getElementById("users-problem");
  const life = userLife(page);
  const parts = [life, userActs(page, life.show)];
  const search = userSearch(page);

  const run = (act) => runWithButton(form.querySelector("button"), problem, act, signal);

  async function find() {
    const text = new FormData(form).get("user").trim();
    const id = isId(text) ? text.toLowerCase() : await search(text);
    if (id === null) return;
    if (location.hash === `#${id}`) await show();
    else location.hash = id;
  }

  async function show() {
    const id = location.hash.slice(1);
    if (isId(id)) await Promise.all(parts.map((part) => part.show(id)));
  }

  form.addEventListener(
    "submit",
    (event) => {
      event.preventDefault();
      run(find);
    },
    { signal },
  );
  addEventListener("hashchange", show, { signal });
  show();
});
