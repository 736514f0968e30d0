// The error messages for users, one for each stable problem code.

import { Problem, Unreachable } from "./session.js";

const BY_CODE = {
  account_disabled: "An administrator has disabled this account.",
  authentication_required: "Sign in first.",
  body_too_large: "This is too long. Shorten it and try again.",
  busy: "The service is busy. Try again in a few seconds.",
  email_taken: "An account with this address already exists. If it is yours, sign in.",
  export_too_large:
    "You have written more than can be downloaded at once. Ask the operator of this site for your data.",
  forbidden: "Only the author and moderators can do this.",
  invalid_credentials: "E-mail address or password is wrong.",
  invalid_email: "This is not a valid e-mail address.",
  invalid_token: "Your session has ended. Sign in again.",
  last_administrator: "You are the last administrator. Make someone else an administrator first.",
  mail_not_configured: "This site does not send e-mail.",
  not_found: "This does not exist any more.",
  origin_not_allowed:
    "The account service does not accept this page's address. The operator of this site must add it to AUTH_CORS_ORIGINS.",
  session_ended: "Your session has ended. Sign in again.",
  too_many_requests: "Too many attempts. Wait and try again.",
  unavailable: "The service cannot reach its database. Try again later.",
  wrong_password: "This password is wrong.",
};

const AWAY = {
  auth: "The account service is not responding, so you cannot sign up, sign in or change your account. You can still read posts.",
  blog: "The blog is not responding. Your text stays on this page.",
};

/** Return the message for an error: by its code, or else the problem's own detail. */
export function sentence(error) {
  if (error instanceof Unreachable) return AWAY[error.service];
  if (!(error instanceof Problem)) {
    console.error(error);
    return "Something went wrong on this page. Reload it.";
  }
  if (error.code === "weak_password" && error.detail) return asSentence(error.detail);
  return BY_CODE[error.code] ?? asSentence(error.detail || error.title || "Something went wrong");
}

/** Return the messages about single fields, by field name. */
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
  const capitalised = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capitalised) ? capitalised : `${capitalised}.`;
}
