"""A TLS context from three files named in the settings: whom to trust, who we are, and our key. Host names are always checked."""

import ssl

from groundswell.errors import BadSetting


def context(service: str, ca: str, cert: str, key: str) -> ssl.SSLContext:
    """`service` is kafka or redis, for the message. Without `ca` the system's authorities. Raises BadSetting."""
    if key and not cert:
        raise BadSetting(f"{service}_key is set and {service}_cert is not.", remedy="Set both, or neither.")
    try:
        found = ssl.create_default_context(cafile=ca or None)
    except OSError as error:  # ssl.SSLError too
        raise BadSetting(
            f"{service}_ca {ca} cannot be used: {_why(error)}.", remedy="Name a PEM file of certificates."
        ) from error
    if cert:
        try:
            # An empty passphrase: without one OpenSSL would ask on the terminal.
            found.load_cert_chain(cert, key or None, password="")
        except (OSError, ValueError) as error:
            raise BadSetting(
                f"{service}_cert {cert} with {service}_key {key or '(in the same file)'} cannot be used: {_why(error)}.",
                remedy="Name PEM files; the key must belong to the certificate and have no passphrase.",
            ) from error
    return found


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")
