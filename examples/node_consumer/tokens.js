// Verify access tokens with public keys alone, as contracts/tokens/verifier.py does.
//
// jose checks the signature, the times, the issuer and the audience; the rest is this issuer's own.

import { createLocalJWKSet, jwtVerify } from "jose";

const LEEWAY_SECONDS = 5;
const LIFETIME_SECONDS_MAX = 3600;
const TOKEN_BYTES_MAX = 8 * 1024;
const HEADER = ["alg", "kid", "typ"];
const CLAIMS = ["iss", "aud", "sub", "client_id", "iat", "exp", "jti"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const SERVICE = /^svc_[A-Za-z0-9._-]+$/;

/**
 * Return a function that verifies a token and returns its claims, or throws.
 *
 * `keys` is a JWK Set; jose's createRemoteJWKSet takes an address instead. `now` is a function that
 * returns seconds since 1970.
 */
export function verifier({ keys, issuer, audience, now = () => Date.now() / 1000 }) {
  const keySet = createLocalJWKSet(keys);
  return async (token) => {
    require_(token.length <= TOKEN_BYTES_MAX && token.split(".").every(isStrict), "the encoding");
    const { payload, protectedHeader } = await jwtVerify(token, keySet, {
      algorithms: ["RS256"],
      audience,
      clockTolerance: LEEWAY_SECONDS,
      currentDate: new Date(now() * 1000),
      issuer,
      requiredClaims: CLAIMS,
      typ: "at+jwt",
    });
    require_(Object.keys(protectedHeader).sort().join() === HEADER.join(), "the header");
    requireTimes(payload, now());
    requireOnePrincipal(payload);
    return payload;
  };
}

function requireTimes({ iat, exp, auth_time = iat }, now) {
  require_([iat, exp, auth_time].every(Number.isSafeInteger), "a time");
  require_(Math.max(iat, auth_time) <= now + LEEWAY_SECONDS, "a time in the future");
  require_(exp > iat && exp - iat <= LIFETIME_SECONDS_MAX, "the lifetime");
}

/** A user's sub is their UUID; a service's is its client_id. A mixture is neither. */
function requireOnePrincipal({ aud, sub, client_id, jti, roles = [], sid, user_version, cnf }) {
  require_([aud, sub, client_id, jti].every((claim) => typeof claim === "string"), "a claim");
  require_(Array.isArray(roles) && roles.every((role) => typeof role === "string"), "roles");
  require_(cnf === undefined, "it is bound to a key of the sender");
  if (sub.startsWith("svc_")) {
    const hasUsers = roles.length > 0 || sid !== undefined || user_version !== undefined;
    require_(SERVICE.test(sub) && client_id === sub && !hasUsers, "sub");
  } else {
    require_(UUID.test(sub) && !client_id.startsWith("svc_"), "sub");
  }
}

/** Whether a segment is base64url in its one form, so that no character of a token can change. */
const isStrict = (segment) => Buffer.from(segment, "base64url").toString("base64url") === segment;

function require_(isTrue, what) {
  if (!isTrue) throw new Error(`not accepted: ${what}`);
}
