// What people are told when something does not work: one sentence for each stable code.

import { Problem, Unreachable } from "./session.js";

const BY_CODE = {
  account_disabled: "An administrator has disabled this account.",
  authentication_required: "Please sign in first.",
  body_too_large: "This is longer than the blog takes. Please shorten it.",
  busy: "There is too much to do at the moment. Please try again in a few seconds.",
  email_taken: "Somebody has an account with this address already. Is it yours? Then sign in.",
  forbidden: "Only its author and moderators may do this.",
  invalid_credentials: "E-mail address or password is wrong.",
  invalid_email: "This is not an address that mail could reach.",
  invalid_token: "Your session has ended. Please sign in again.",
  last_administrator: "You are the last administrator: name another one first.",
  mail_not_configured: "This site sends no mail.",
  not_found: "This is not here any more.",
  origin_not_allowed:
    "The account service does not know this page's address. Whoever runs this site has to add it to AUTH_CORS_ORIGINS.",
  session_ended: "Your session has ended. Please sign in again.",
  too_many_requests: "That was too often in a short time.",
  unavailable: "The service cannot reach its data at the moment. Please try again soon.",
  wrong_password: "This password is wrong.",
};

const AWAY = {
  auth: "The account service does not answer, so nobody can sign up, sign in or change an account. Reading goes on.",
  blog: "The blog does not answer. What you have typed stays here.",
};

/** The sentence about `error`; only a problem's own words for what is a matter of its details. */
export function sentence(error) {
  if (error instanceof Unreachable) return AWAY[error.service];
  if (!(error instanceof Problem)) {
    console.error(error);
    return "Something went wrong on this page. Please load it again.";
  }
  if (error.code === "weak_password" && error.detail) return asSentence(error.detail);
  return BY_CODE[error.code] ?? asSentence(error.detail || error.title || "That did not work");
}

/** The sentences about single fields, by the fields' names. */
export function sentencesByField(error) {
  const found = error instanceof Problem ? error.errors : [];
  return Object.fromEntries(
    found.map(({ pointer, detail }) => [
      pointer.split("/").at(-1),
      asSentence(detail.replace(/^Value error, /, "").replace(/^(?=has |must )/, "this ")),
    ]),
  );
}

function asSentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
