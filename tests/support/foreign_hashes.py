"""Passwords and their hashes, as documents and tests of other systems give them."""

from auth_service.imports.hashes import firebase_hash, keycloak_hash

# Of https://github.com/firebase/scrypt: the example of its README.
SIGNER_KEY = (
    "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
)
OF_FIREBASE = firebase_hash(
    "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
    "42xEC+ixf3L2lw==",
    separator="Bw==",
    rounds=8,
    cost=14,
)

# What Keycloak 26 stores for the password "secret".
OF_KEYCLOAK = keycloak_hash(
    {
        "hashIterations": 5,
        "algorithm": "argon2",
        "additionalParameters": {
            "hashLength": ["32"],
            "memory": ["7168"],
            "type": ["id"],
            "version": ["1.3"],
            "parallelism": ["1"],
        },
    },
    {
        "value": "xKjWvB9+0sSP6wTqI1JoEI7w+iA0x9VDhPgmrOHRG80=",
        "salt": "LRScGShC7shkdoU5B1UgUQ==",
        "additionalParameters": {},
    },
)

MADE_ELSEWHERE: dict[str, tuple[str, str]] = {
    # The tests of Django.
    "Django": (
        "lètmein",
        "pbkdf2_sha256$600000$seasalt2$OSllgFdJjYQjb0RfMzrx8u0XYl4Fkt+wKpI1yq4lZlo=",
    ),
    "Django with SHA-1": (
        "lètmein",
        "pbkdf2_sha1$600000$seasalt2$2CLsaL1MZhq6JOG6QOHtVbiopHE=",
    ),
    "Django with scrypt": (
        "lètmein",
        "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFR"
        "kdVCBhhY8mx7rQwite/Pw==",
    ),
    "Django with argon2": (
        "secret",
        "argon2$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$YC9+jJCrQhs5R6db7LlN8Q",
    ),
    "Django with bcrypt of SHA-256": (
        "password",
        "bcrypt_sha256$$2b$12$VADBCPlCt0wMa2zjUgaXl.jnrvoNt/kgjtRY7i./fo0V2IEp1l6f2",
    ),
    # A test vector of every bcrypt.
    "Devise": ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    "Auth0": ("U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    "PHP": ("U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    "Django with bcrypt": (
        "U*U",
        "bcrypt$$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    ),
    "PHC with SHA-512": (
        "password",
        "$pbkdf2-sha512$i=100000,l=64$HqJwOCHweNk1pLryiu3RsA$KVSvxKYcibIG5S5n55RvxKRTdAAfCUtBJoy5Iu"
        "FzdSZyzkwvUcU+FPawEWFPn+06JyZsndfRTfpiEh+2eSJLkg",
    ),
    "PHC with SHA-256": (
        "Test@123",
        "$pbkdf2-sha256$i=10000,l=32$wJuJqLoUFsdXa8k3sFhRlA"
        "$2waKCbPhZzL+RjWMQqvA1jpb+j56jTAXcNmRD9UTekU",
    ),
    "Firebase": ("user1password", OF_FIREBASE),
    "Keycloak": ("secret", OF_KEYCLOAK),
}
"""By system: a password, and its hash as it is exported, or else as it is stored."""
