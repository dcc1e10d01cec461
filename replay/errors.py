"""Errors a person reads.

KappaError                 every error this project raises on purpose
├── ConfigError            settings, product.yaml, contract.yaml or SQL are wrong: edit and repeat
├── RefusedError           the request is understood and must not be done (unsafe SQL, log not whole, …)
├── RetryableError         something was down or busy: the same command may succeed later
├── ConflictError          somebody else changed what this command was about to change
│   └── PartlyPublishedError   some tables show readers a new checkpoint, and the others cannot
└── OutcomeUnknownError    an answer was lost: look before repeating
"""

from __future__ import annotations


class KappaError(Exception):
    """What was expected, what was found, and the next command to run."""

    def __init__(
        self, message: str, *, expected: str = "", found: str = "", next: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.found = found
        self.next = next

    def __str__(self) -> str:
        lines = [self.message]
        for label in ("expected", "found", "next"):
            if value := getattr(self, label):
                lines.append(f"  {label + ':':<10}{value}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str]:
        return {
            "error": type(self).__name__,
            "message": self.message,
            "expected": self.expected,
            "found": self.found,
            "next": self.next,
        }


class ConfigError(KappaError):
    """Settings, a product's folder or its SQL are wrong."""


class RefusedError(KappaError):
    """Understood, and must not be done as things stand."""


class RetryableError(KappaError):
    """Something was down or busy."""


class ConflictError(KappaError):
    """What was about to be changed was changed by somebody else."""


class PartlyPublishedError(ConflictError):
    """Some tables show readers a new checkpoint, and the others cannot: the journal keeps it until they do."""


class OutcomeUnknownError(KappaError):
    """An answer was lost: look before repeating."""


def not_deployed(product: str, found: str = "no publication") -> ConfigError:
    """A command for what readers see, of a product of which they see nothing yet."""
    return ConfigError(
        f"nothing of '{product}' is published",
        expected="a product that was deployed",
        found=found,
        next=f"kappa deploy {product}",
    )
