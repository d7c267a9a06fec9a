"""Who may ask: whoever carries the operator's token."""

# Annotations stay real here: older FastAPIs cannot look up those of an instance that is called.
import hmac

from fastapi import HTTPException
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

__all__ = ["Bearer"]


class Bearer(HTTPBearer):
    """A dependency that lets requests pass with `Authorization: Bearer TOKEN`, and refuses the others with 401."""

    def __init__(self, token: str) -> None:
        """Keep the token; the description names only the scheme."""
        super().__init__(auto_error=False, scheme_name="bearer", description="The token that the operator gave you.")
        self._token = token.encode()

    async def __call__(self, request: HTTPConnection) -> HTTPAuthorizationCredentials:
        """Check one request, before its body is read."""
        given = await super().__call__(request)
        # In constant time, so that nobody can guess the token letter by letter.
        if given is None or not hmac.compare_digest(given.credentials.encode(), self._token):
            raise HTTPException(
                401, "this needs the header 'Authorization: Bearer TOKEN'", {"WWW-Authenticate": "Bearer"}
            )
        return given
