"""Connections to brokers that verify the certificate and the host name of every TLS connection.

kombu verifies no certificate for ``rediss://``, and py-amqp verifies no host name for ``amqps://``,
unless the caller asks for both.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from kombu import Connection

from daemon.targets import UnusableTarget


class BrokerConnection(Connection):  # type: ignore[misc]
    """A connection whose TLS options follow the target's settings, not the URL.

    Args:
        verify_tls: False accepts any certificate.
        ca_file: the trusted authorities; None: those of the system.
    """

    def __init__(
        self, url: str, *, verify_tls: bool = True, ca_file: Path | None = None, **options: Any
    ) -> None:
        self.ssl: Any
        self._verify_tls = verify_tls
        self._ca_file = ca_file
        super().__init__(url, **options)

    def _init_params(self, *args: Any, **fields: Any) -> None:
        # kombu calls this method for the first URL, and again for each URL that it fails over to.
        super()._init_params(*args, **fields)
        transport = self.get_transport_cls()
        kind = transport.driver_type
        if kind == "amqp" and (self.ssl or transport.__name__ == "SSLTransport"):
            self.ssl = self._amqp_options()
        elif kind == "redis" and self.ssl:
            self.ssl = self._redis_options()

    def clone(self, **fields: Any) -> Connection:
        """Return a copy with the same TLS settings."""
        fields |= {"verify_tls": self._verify_tls, "ca_file": self._ca_file}
        return super().clone(**fields)

    def _tls_options_of_url(self, *, prefix: str) -> dict[str, Any]:
        """Return the URL's TLS options, such as a client certificate, under a library's names."""
        given = self.ssl if isinstance(self.ssl, dict) else {}
        return {prefix + name.removeprefix("ssl_"): value for name, value in given.items()}

    def _amqp_options(self) -> dict[str, Any]:
        given = self._tls_options_of_url(prefix="")
        given.pop("check_hostname", None)
        if self._ca_file:
            given["ca_certs"] = str(self._ca_file)
        if not self._verify_tls:
            given.pop("server_hostname", None)
            return {**given, "cert_reqs": ssl.CERT_NONE}
        # py-amqp verifies the host name exactly when it is given one.
        return {
            **given,
            "cert_reqs": ssl.CERT_REQUIRED,
            "server_hostname": self.hostname or "localhost",
        }

    def _redis_options(self) -> dict[str, Any]:
        return {
            **self._tls_options_of_url(prefix="ssl_"),
            **({"ssl_ca_certs": str(self._ca_file)} if self._ca_file else {}),
            "ssl_cert_reqs": ssl.CERT_REQUIRED if self._verify_tls else ssl.CERT_NONE,
            "ssl_check_hostname": self._verify_tls,
        }


def check_tls(url: str, *, verify: bool, ca_file: Path | None) -> None:
    """Check the URL and the TLS settings of a target without a connection.

    Raises:
        UnusableTarget: no such transport, an unreadable ``ca_file``, or settings that the transport
            would ignore.
    """
    try:
        kind = BrokerConnection(url).get_transport_cls().driver_type
    except Exception as error:
        raise UnusableTarget(f"broker_url: {type(error).__name__}: {error}") from error
    if kind not in ("amqp", "redis") and (ca_file is not None or not verify):
        raise UnusableTarget("verify_tls and ca_file apply only to RabbitMQ and Redis")
    if ca_file is not None:
        try:
            ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UnusableTarget(f"ca_file {ca_file}: {error}") from error
