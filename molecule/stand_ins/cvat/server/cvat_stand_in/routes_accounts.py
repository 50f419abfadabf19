"""/api/auth and /api/users: logging in and out, passwords, tokens, registration, who is who."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from . import replies
from .access import log_in, log_out
from .errors import Refused, forbidden, invalid, missing
from .http import Address, Body, CvatResponse, Known, database, text
from .lists import page
from .models import AccessToken, LoginToken

router = APIRouter()

SHORTEST_PASSWORD = 8


def welcome(user: User, content: dict[str, Any], status: int) -> CvatResponse:
    """A reply with a login token and the cookies of a session."""
    key, cookies = log_in(user)
    reply = CvatResponse({**content, "key": key}, status)
    for name, value in cookies.items():
        reply.set_cookie(name, value, httponly=name == "sessionid", samesite="lax")
    return reply


@router.post("/api/auth/login")
@database
def login(given: Body) -> Any:
    user = authenticate(username=given.get("username"), password=given.get("password"))
    if user is None:
        raise invalid("non_field_errors", "Unable to log in with provided credentials.")
    return welcome(user, {}, 200)


@router.get("/api/auth/logout")
@router.post("/api/auth/logout")
@database
def logout(http: HttpRequest) -> Any:
    log_out(http)
    reply = CvatResponse({"detail": "Successfully logged out."})
    reply.delete_cookie("sessionid")
    return reply


@router.post("/api/auth/register")
@database
def register(given: Body) -> Any:
    faults: dict[str, list[str]] = {}
    for field in ("username", "email", "password1", "password2"):
        if not given.get(field):
            faults[field] = ["This field is required."]
    if User.objects.filter(username=given.get("username")).exists():
        faults["username"] = ["A user with that username already exists."]
    for field in ("password1", "password2"):
        if 0 < len(given.get(field, "")) < SHORTEST_PASSWORD:
            faults[field] = [f"Ensure this field has at least {SHORTEST_PASSWORD} characters."]
    if faults:
        raise Refused(400, faults)
    if given["password1"] != given["password2"]:
        raise invalid("non_field_errors", "The two password fields didn't match.")
    content = {name: given.get(name, "") for name in ("username", "email", "first_name", "last_name")}
    user = User.objects.create_user(password=given["password1"], **content)
    return welcome(user, {**content, "email_verification_required": False}, 201)


@router.post("/api/auth/password/change")
@database
def change_password(by: Known, given: Body) -> Any:
    if not by.user.check_password(given.get("old_password", "")):
        raise invalid("old_password", "Your old password was entered incorrectly. Please enter it again.")
    if given.get("new_password1") != given.get("new_password2"):
        raise invalid("new_password2", "The two password fields didn't match.")
    if len(given.get("new_password1") or "") < SHORTEST_PASSWORD:
        raise invalid("new_password2", "This password is too short. It must contain at least 8 characters.")
    by.user.set_password(given["new_password1"])
    by.user.save()
    return {"detail": "New password has been saved."}


@router.get("/api/auth/access_tokens")
@database
def tokens(http: HttpRequest, by: Known, url: Address) -> Any:
    return page(http, url, AccessToken.objects.filter(owner=by.user), replies.access_token)


@router.post("/api/auth/access_tokens")
@database
def make_token(by: Known, url: Address, given: Body) -> Any:
    token = AccessToken.objects.create(
        name=text(given, "name", 64), owner=by.user, read_only=given.get("read_only", True)
    )
    return CvatResponse({**replies.access_token(token, url), "value": token.key}, 201)


def own_token(by: Known, number: int) -> AccessToken:
    token = AccessToken.objects.filter(owner=by.user, id=number).first()
    if token is None:
        raise missing("AccessToken")
    return token


@router.get("/api/auth/access_tokens/{number}")
@database
def show_token(number: int, by: Known, url: Address) -> Any:
    return replies.access_token(own_token(by, number), url)


@router.patch("/api/auth/access_tokens/{number}")
@database
def change_token(number: int, by: Known, url: Address, given: Body) -> Any:
    token = own_token(by, number)
    for field in {"name", "read_only"} & set(given):
        setattr(token, field, given[field])
    token.save()
    return replies.access_token(token, url)


@router.delete("/api/auth/access_tokens/{number}")
@database
def revoke_token(number: int, by: Known) -> Any:
    own_token(by, number).delete()
    return Response(status_code=204)


@router.get("/api/users")
@database
def users(http: HttpRequest, by: Known, url: Address) -> Any:
    if by.admin:
        return page(http, url, User.objects.all(), replies.account)
    return page(http, url, User.objects.filter(id=by.user.id), replies.person)


@router.get("/api/users/self")
@database
def myself(by: Known, url: Address) -> Any:
    return replies.account(by.user, url)


@router.get("/api/users/{number}")
@database
def show_user(number: int, by: Known, url: Address) -> Any:
    return replies.account(user(number, by), url)


@router.patch("/api/users/{number}")
@database
def change_user(number: int, by: Known, url: Address, given: Body) -> Any:
    found = user(number, by)
    for field in {"first_name", "last_name", "email"} & set(given):
        setattr(found, field, given[field])
    if by.admin and "is_active" in given:
        found.is_active = given["is_active"]
    found.save()
    return replies.account(found, url)


@router.delete("/api/users/{number}")
@database
def remove_user(number: int, by: Known) -> Any:
    found = user(number, by)
    LoginToken.objects.filter(user=found).delete()
    found.delete()
    return Response(status_code=204)


def user(number: int, by: Known) -> User:
    """The user of that number, for himself and administrators."""
    found = User.objects.filter(id=number).first()
    if found is None:
        raise missing("User")
    if not by.admin and found != by.user:
        raise forbidden()
    return found
