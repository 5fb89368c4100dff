"""The keys of one machine, made when it is booted and removed when it ends; none is kept in an image."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An Ed25519 key as files of OpenSSH have it."""

    private: str
    public: str
    """Type and base64, as in a .pub file."""

    @classmethod
    def new(cls) -> KeyPair:
        """From the system's randomness (RFC 8709)."""
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return cls(private.decode(), public.decode())
