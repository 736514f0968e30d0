// The page of the settings in force, and where each came from.

import { h } from "/web/dom.js";
import { openPage } from "./frame.js";
import { many, sentence } from "./phrases.js";
import { setText } from "./render.js";
import { tableOf } from "./table.js";

const ORIGINS = { default: "default", environment: "environment", file: "file", ".env": ".env", code: "program" };

openPage(({ call, signal }) => {
  const place = (id) => document.getElementById(id);
  const form = place("settings-filter");
  const found = {};

  function show() {
    const values = new FormData(form);
    const text = values.get("text").trim().toLowerCase();
    const isWanted = ({ name, value, origin }) => `${name} ${value ?? ""}`.toLowerCase().includes(text) && !(values.has("set") && origin === "default");
    let shown = 0;
    for (const [service, settings] of Object.entries(found)) {
      const wanted = settings.filter(isWanted);
      shown += wanted.length;
      place(`settings-${service}`).replaceChildren(wanted.length ? settingTable(wanted) : h("p", { class: "empty" }, "No matching settings."));
    }
    setText(place("settings-count"), many(shown, "setting"));
  }

  async function read(service) {
    try {
      found[service] = (await call(service, "GET", "/v1/admin/settings", undefined, { signal })).items;
      show();
    } catch (error) {
      if (!signal.aborted) place(`settings-${service}`).replaceChildren(h("p", { class: "problem", role: "alert" }, sentence(error)));
    }
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const service of ["auth", "blog"]) read(service);
});

function settingTable(settings) {
  const value = ({ value: text, is_secret: isSecret }) => (text ? h("code", {}, text, isSecret ? " (masked)" : "") : h("span", { class: "hint" }, text === null ? "not set" : "empty"));
  return tableOf(["Setting", "Value", "From"], settings.map((setting) => [setting.name, value(setting), ORIGINS[setting.origin]]));
}
