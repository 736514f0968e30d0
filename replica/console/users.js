// The page of users: find one by address or id.

import { openPage } from "./frame.js";

openPage(({ signal }) => {
  document.getElementById("find-user").addEventListener("submit", (event) => event.preventDefault(), { signal });
});
