"""A public key, and what gpg says of it."""

from __future__ import annotations

# Made by `gpg --quick-generate-key` for this test alone; its secret part was not kept.
KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawdNyBYJKwYBBAHaRw8BAQdAG4yUQv1FvnxA02p4jLbtbuxvkQJzIFueaqEA
KgvPOsq0F1Rlc3QgPHRlc3RAZXhhbXBsZS5jb20+iJYEExYIAD4WIQSULUZEgYMZ
itHnrye8Ot11q08qcAUCawdNyAIbAwUJA8JnAAULCQgHAgYVCgkICwIEFgIDAQIe
AQIXgAAKCRC8Ot11q08qcKIBAQDGMVCUoa7AedJO+aKF+idMROVuokNln6JC3Z9R
XWpgYwEArQvkeGk0Q3BcZyWRFOKbebSMWqaylZEQFot/VT3XaAc=
=1GaK
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "942D46448183198AD1E7AF27BC3ADD75AB4F2A70"
