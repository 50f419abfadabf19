"""Who is calling, and what he may see."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import Any, TypeVar

from django.contrib.auth import SESSION_KEY, authenticate
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from starlette.requests import Request as HttpRequest

from .errors import Refused, forbidden, missing
from .models import AccessToken, LoginToken, Membership, Organization

SAFE = {"GET", "HEAD", "OPTIONS"}
Item = TypeVar("Item", bound=Model)


@dataclass
class Caller:
    """A known user, in the organization that the call names (None: in none, or unsaid)."""

    user: User
    organization: Organization | None = None
    sandbox: bool = False  # the call says "in no organization"

    @property
    def admin(self) -> bool:
        return bool(self.user.is_superuser) or self.user.groups.filter(name="admin").exists()

    def role(self, organization: Organization | None) -> str | None:
        found = Membership.objects.filter(user=self.user, organization=organization).first()
        return found.role if found else None

    def visible(self, items: QuerySet[Any], via: str = "") -> QuerySet[Any]:
        """Those of the `items` that the caller sees; `via` leads from an item to what is owned ("task__")."""
        if self.organization:
            items = items.filter(**{f"{via}organization": self.organization})
        elif self.sandbox:
            items = items.filter(**{f"{via}organization": None})
        if self.admin:
            return items
        ruled = Membership.objects.filter(user=self.user, role__in=["owner", "maintainer"]).values("organization")
        seen = (
            Q(**{f"{via}owner": self.user})
            | Q(**{f"{via}assignee": self.user})
            | Q(**{f"{via}organization__in": ruled})
        )
        if items.model.__name__ == "Job":
            seen |= Q(assignee=self.user) | Q(task__project__owner=self.user) | Q(task__project__assignee=self.user)
        if items.model.__name__ == "Task":
            seen |= Q(project__owner=self.user) | Q(project__assignee=self.user) | Q(jobs__assignee=self.user)
        if items.model.__name__ == "Project":
            seen |= Q(tasks__assignee=self.user) | Q(tasks__jobs__assignee=self.user)
        return items.filter(seen).distinct()

    def get(self, model: type[Item], number: int, via: str = "") -> Item:
        """The item of that number: 404 where there is none, 403 where the caller may not see it."""
        if not model.objects.filter(id=number).exists():
            raise missing(model.__name__)
        item = Caller(self.user).visible(model.objects.filter(id=number), via).first()
        if item is None:
            raise forbidden()
        found: Item = item
        return found


def unauthorized(detail: str) -> Refused:
    return Refused(401, {"detail": detail})


def by_basic(value: str) -> User:
    try:
        login = base64.b64decode(value)
    except ValueError:
        raise unauthorized("Invalid basic header. Credentials not correctly base64 encoded.") from None
    try:
        text = login.decode("utf-8")
    except UnicodeDecodeError:
        text = login.decode("latin-1")
    username, _, password = text.partition(":")
    user = authenticate(username=username, password=password)
    if user is None:
        raise unauthorized("Invalid username/password.")
    return user


def by_access_token(value: str, method: str) -> User:
    token = AccessToken.objects.filter(key=value).select_related("owner").first()
    if token is None or (token.expiry_date and token.expiry_date < timezone.now()):
        raise unauthorized("Invalid token.")
    AccessToken.objects.filter(id=token.id).update(last_used_date=timezone.now())
    if token.read_only and method not in SAFE:
        raise forbidden()
    return token.owner


def by_session(http: HttpRequest) -> User | None:
    number = SessionStore(http.cookies.get("sessionid")).get(SESSION_KEY) if http.cookies.get("sessionid") else None
    user = User.objects.filter(id=number, is_active=True).first() if number else None
    if user is not None and http.method not in SAFE:
        sent = http.headers.get("x-csrftoken")
        if not sent:
            raise Refused(403, {"detail": "CSRF Failed: CSRF token missing."})
        if sent != http.cookies.get("csrftoken"):
            raise Refused(403, {"detail": "CSRF Failed: CSRF token incorrect."})
    return user


def identify(http: HttpRequest) -> User:
    """The user that the call's Authorization header or session cookie names; 401 where there is none."""
    scheme, _, value = http.headers.get("authorization", "").partition(" ")
    user: User | None = None
    if scheme.lower() == "basic":
        user = by_basic(value)
    elif scheme.lower() == "bearer":
        user = by_access_token(value, http.method)
    elif scheme.lower() == "token":
        found = LoginToken.objects.filter(key=value).select_related("user").first()
        if found is None:
            raise unauthorized("Invalid token.")
        user = found.user if found.user.is_active else None
    else:
        user = by_session(http)
    if user is None:
        raise unauthorized("Authentication credentials were not provided.")
    return user


def caller(http: HttpRequest) -> Caller:
    """The caller, with the organization that the call names by slug or number."""
    known = Caller(identify(http))
    slug = http.query_params.get("org", http.headers.get("x-organization"))
    number = http.query_params.get("org_id")
    if slug == "":
        known.sandbox = True
    elif slug or number:
        known.organization = Organization.objects.filter(**({"slug": slug} if slug else {"id": number})).first()
        if known.organization is None:
            raise Refused(404, {"detail": f"{slug or number} organization does not exist."})
        if not known.admin and known.role(known.organization) is None:
            raise forbidden()
    return known


def log_in(user: User) -> tuple[str, dict[str, str]]:
    """A login token and the two cookies of a new session."""
    user.last_login = timezone.now()
    user.save(update_fields=["last_login"])
    session = SessionStore()
    session[SESSION_KEY] = str(user.id)
    session.create()
    token, _ = LoginToken.objects.get_or_create(user=user)
    return token.key, {"sessionid": session.session_key, "csrftoken": secrets.token_urlsafe(24)}


def log_out(http: HttpRequest) -> None:
    """Ends the session and the login token of the call."""
    scheme, _, value = http.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "token":
        LoginToken.objects.filter(key=value).delete()
    if http.cookies.get("sessionid"):
        SessionStore(http.cookies["sessionid"]).flush()
