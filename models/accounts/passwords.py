"""Passwords and tokens: what is kept of a secret, and how it is recognised again."""

from __future__ import annotations

import asyncio
import hashlib
import secrets

import argon2

# OWASP's first argon2id recommendation: 46 MiB, one pass, one lane.
_hasher = argon2.PasswordHasher(time_cost=1, memory_cost=46 * 1024, parallelism=1)
# Two at once: more would take 46 MiB each and both cores from everybody else.
_hashing = asyncio.Semaphore(2)
_nobody: list[str] = []


def new_token() -> str:
    """256 random bits that fit into a header and an address."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is kept of a token. It carries 256 random bits, so a plain hash cannot be searched
    for and no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


async def hashed(password: str) -> str:
    """What is kept of a password (argon2id), made off the event loop."""
    async with _hashing:
        return await asyncio.to_thread(_hasher.hash, password)


async def verify(expected: str | None, password: str) -> bool:
    """Whether the password is the one of the hash. Without a hash it takes as long and is no."""
    against = expected or await _hash_of_nobody()
    async with _hashing:
        try:
            return await asyncio.to_thread(_hasher.verify, against, password) and bool(expected)
        except argon2.exceptions.VerificationError:
            return False


async def _hash_of_nobody() -> str:
    if not _nobody:
        _nobody.append(await hashed(secrets.token_urlsafe(16)))
    return _nobody[0]
