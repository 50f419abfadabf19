"""/api/organizations, /api/memberships and /api/invitations."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.models import User
from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from . import replies
from .errors import Refused, forbidden, invalid, missing
from .http import Address, Body, CvatResponse, Known, database, text
from .lists import page
from .models import Membership, Organization

router = APIRouter()

ROLES = ("worker", "supervisor", "maintainer", "owner")


@router.get("/api/organizations")
@database
def organizations(http: HttpRequest, by: Known, url: Address) -> Any:
    items = Organization.objects.all() if by.admin else Organization.objects.filter(members__user=by.user)
    return page(http, url, items, replies.organization)


@router.post("/api/organizations")
@database
def make_organization(by: Known, url: Address, given: Body) -> Any:
    slug = text(given, "slug", 16)
    if Organization.objects.filter(slug=slug).exists():
        raise invalid("slug", "organization with this slug already exists.")
    made = Organization.objects.create(
        slug=slug, name=given.get("name", slug), description=given.get("description", ""), owner=by.user
    )
    Membership.objects.create(user=by.user, organization=made, role="owner")
    return CvatResponse(replies.organization(made, url), 201)


def organization(number: int, by: Known, ruled: bool = False) -> Organization:
    """The organization of that number, for its members; `ruled`: for those who rule it."""
    found = Organization.objects.filter(id=number).first()
    if found is None:
        raise missing("Organization")
    role = by.role(found)
    if not by.admin and (role is None or (ruled and role not in ("owner", "maintainer"))):
        raise forbidden()
    return found


@router.get("/api/organizations/{number}")
@database
def show_organization(number: int, by: Known, url: Address) -> Any:
    return replies.organization(organization(number, by), url)


@router.patch("/api/organizations/{number}")
@database
def change_organization(number: int, by: Known, url: Address, given: Body) -> Any:
    found = organization(number, by, ruled=True)
    for field in {"name", "description"} & set(given):
        setattr(found, field, given[field])
    found.save()
    return replies.organization(found, url)


@router.delete("/api/organizations/{number}")
@database
def remove_organization(number: int, by: Known) -> Any:
    organization(number, by, ruled=True).delete()
    return Response(status_code=204)


@router.get("/api/memberships")
@database
def memberships(http: HttpRequest, by: Known, url: Address) -> Any:
    items = (
        Membership.objects.filter(organization=by.organization)
        if by.organization
        else Membership.objects.filter(user=by.user)
    )
    return page(http, url, items, replies.membership)


@router.get("/api/invitations")
@database
def invitations(http: HttpRequest, by: Known, url: Address) -> Any:
    items = Membership.objects.exclude(invitation_key=None)
    items = items.filter(organization=by.organization) if by.organization else items.filter(user=by.user)
    return page(http, url, items, replies.invitation)


@router.post("/api/invitations")
@database
def invite(by: Known, url: Address, given: Body) -> Any:
    if by.organization is None:
        raise Refused(400, ["An organization is required"])
    if not by.admin and by.role(by.organization) not in ("owner", "maintainer"):
        raise forbidden()
    invited = User.objects.filter(email=text(given, "email", 254)).first()
    if invited is None:
        raise invalid("email", "There is no user with this email")
    role = given.get("role", "worker")
    if role not in ROLES[:-1]:
        raise invalid("role", f'"{role}" is not a valid choice.')
    made, _ = Membership.objects.get_or_create(
        user=invited,
        organization=by.organization,
        defaults={"role": role, "invitation_key": secrets.token_urlsafe(48)[:64], "invited_by": by.user},
    )
    return CvatResponse(replies.invitation(made, url), 201)


@router.post("/api/invitations/{key}/accept")
@database
def accept(key: str, _: Known) -> Any:
    if not Membership.objects.filter(invitation_key=key).exists():
        raise missing("Invitation")
    return CvatResponse("Your invitation is already accepted.", 400)
