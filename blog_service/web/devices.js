// The devices on which a user is signed in: each by name, when it was last seen, and a way to end it.

import { h, time } from "./dom.js";
import { deviceName } from "./device_names.js";
import { sentence } from "./error_texts.js";
import { form } from "./forms.js";
import { call, signOut } from "./session.js";
import { notice } from "./shell.js";

const PATH = "/v1/me/sessions";

/** Build the content of the section; the list comes when the auth service has responded. */
export function devices(visit) {
  const list = h("ul", { class: "devices", "aria-busy": "true" });
  const load = async () => {
    try {
      const { items } = await call("auth", "GET", PATH, undefined, visit);
      // The device at hand comes first; the service sorts the others by when they were seen.
      const sorted = [...items].sort((one, other) => other.current - one.current);
      list.replaceChildren(...sorted.map((session) => device(session, load)));
    } catch (error) {
      if (visit.signal.aborted) return;
      list.replaceChildren(h("li", { class: "quiet" }, sentence(error)));
    }
    list.setAttribute("aria-busy", "false");
  };
  load();
  const button = (scope, label, done) =>
    form({
      submit: label,
      busy: "Signing out …",
      quiet: true,
      async act() {
        await signOut(scope);
        notice(done);
        if (scope === "others") await load();
      },
    }).element;
  return [
    h("p", { class: "quiet" }, "You stay signed in on each of these until you sign out."),
    list,
    h(
      "div",
      { class: "beside" },
      button("others", "Sign out other devices", "All other devices have been signed out."),
      button("local", "Sign out here", "You are signed out."),
    ),
  ];
}

function device({ id, user_agent: agent, current, created_at: since, refreshed_at: seen }, load) {
  const name = deviceName(agent);
  const end = h("button", { type: "button", class: "plain", "aria-label": `Sign out ${name}` }, "Sign out");
  end.addEventListener("click", async () => {
    try {
      await call("auth", "DELETE", `${PATH}/${id}`);
      notice(`${name} has been signed out.`);
    } catch (error) {
      if (error.status !== 404) notice(sentence(error)); // 404: it had ended already
    }
    await load();
  });
  const when = current ? ["signed in ", time(since)] : ["last seen ", time(seen), ", signed in ", time(since)];
  return h(
    "li",
    { title: agent ?? "" },
    h("strong", {}, name),
    current ? h("span", { class: "here" }, "this device") : end,
    h("span", { class: "quiet" }, when),
  );
}
