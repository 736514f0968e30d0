"""Problem codes of the auth service alone; ``service_kit.http.problems`` has the others."""

from typing import Final

from service_kit.http.problems import Code

INVALID_CREDENTIALS: Final = Code("invalid_credentials", 401, "E-mail or password is wrong")
SESSION_ENDED: Final = Code("session_ended", 401, "There is no session, or it has ended")
RECENT_PASSWORD_REQUIRED: Final = Code(
    "insufficient_user_authentication", 401, "Confirm your password first"
)
WRONG_PASSWORD: Final = Code("wrong_password", 403, "The password is wrong")
ORIGIN_NOT_ALLOWED: Final = Code("origin_not_allowed", 403, "Pages of this origin may not do this")
EMAIL_TAKEN: Final = Code("email_taken", 409, "The e-mail address is taken")
LAST_ADMINISTRATOR: Final = Code(
    "last_administrator", 409, "There has to be another administrator first"
)
VERSIONS_EXHAUSTED: Final = Code("versions_exhausted", 409, "The account can only be deleted")
SERVICE_NAME_TAKEN: Final = Code("service_name_taken", 409, "A service account has this name")
TOO_MANY_KEYS: Final = Code("too_many_keys", 409, "The service account has two live keys")
KEY_CHANGE_REFUSED: Final = Code(
    "key_change_refused", 409, "The signing key does not allow this now"
)
INVALID_EMAIL: Final = Code("invalid_email", 422, "This is not an e-mail address")
WEAK_PASSWORD: Final = Code("weak_password", 422, "This password is too easy to guess")
INVALID_LINK: Final = Code("invalid_link", 422, "The link is wrong, has been used or has expired")
MAIL_NOT_CONFIGURED: Final = Code("mail_not_configured", 503, "This service sends no e-mail")
