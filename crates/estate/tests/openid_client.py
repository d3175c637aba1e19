"""A foreign client for the identity service: Authlib, with requests for what it leaves to others (pushed requests, the browser).

Usage: openid_client.py PACKAGES ISSUER. Prints `ok STEP` for each step that went as it must; any other end is a failure. After
`ok before rotation` it waits for a line on standard input, so that the keys can be changed meanwhile.
"""

import re
import sys
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, sys.argv[1])
import requests  # noqa: E402
from authlib.common.security import generate_token  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.jose import JsonWebKey, JsonWebToken  # noqa: E402
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # noqa: E402

ISSUER = sys.argv[2]
REDIRECT = "http://127.0.0.1:51004/callback"
SCOPE = "openid profile email offline_access"


def ok(step):
    print("ok", step, flush=True)


def document(path):
    answer = requests.get(ISSUER + path, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


about = document("/.well-known/openid-configuration")
assert about["issuer"] == ISSUER, about
assert about == document("/.well-known/oauth-authorization-server")
ok("discovery")


def sign_in(browser, url, user, password):
    """Follows the page of a sign-in as a browser does, and gives the parameters that come back."""
    page = browser.get(url, timeout=30, allow_redirects=False)
    if page.status_code == 200:
        action = re.search(r'<form action="([^"]+)"', page.text).group(1)
        for entity, character in (("&#38;", "&"), ("&amp;", "&")):
            action = action.replace(entity, character)
        page = browser.post(
            ISSUER + action, data={"user": user, "password": password}, timeout=30, allow_redirects=False
        )
    assert page.status_code == 303, (page.status_code, page.text)
    back = page.headers["location"]
    assert back.startswith(REDIRECT), back
    return back


def begin(pushed, nonce):
    client = OAuth2Session("app", scope=SCOPE, redirect_uri=REDIRECT, code_challenge_method="S256")
    verifier = generate_token(48)
    url, state = client.create_authorization_url(
        about["authorization_endpoint"], code_verifier=verifier, nonce=nonce
    )
    if pushed:
        form = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert form["code_challenge"] == create_s256_code_challenge(verifier)
        answer = requests.post(about["pushed_authorization_request_endpoint"], data=form, timeout=30)
        assert answer.status_code == 201, answer.text
        url = f"{about['authorization_endpoint']}?client_id=app&request_uri={answer.json()['request_uri']}"
    return client, url, state, verifier


def tokens(pushed, browser=None):
    nonce = generate_token(16)
    client, url, state, verifier = begin(pushed, nonce)
    back = sign_in(browser or requests.Session(), url, "user0003", "password-0003")
    answer = parse_qs(urlsplit(back).query)
    assert answer["state"] == [state] and answer["iss"] == [ISSUER], answer
    token = client.fetch_token(about["token_endpoint"], authorization_response=back, code_verifier=verifier)
    keys = JsonWebKey.import_key_set(document("/jwks"))
    claims = JsonWebToken(["ES256"]).decode(
        token["id_token"],
        keys,
        claims_options={
            "iss": {"essential": True, "value": ISSUER},
            "aud": {"essential": True, "value": "app"},
            "nonce": {"essential": True, "value": nonce},
        },
    )
    claims.validate()
    assert claims["sub"] == "user0003" and claims["amr"] == ["pwd"], claims
    return client, token, back, verifier


def refused(error, call):
    try:
        answer = call()
    except OAuthError as raised:
        assert raised.error == error, raised
        return
    raise AssertionError(answer)


client, token, back, verifier = tokens(pushed=False)
ok("code with PKCE")
tokens(pushed=True)
ok("pushed request")

told = client.get(about["userinfo_endpoint"]).json()
wanted = {"sub", "given_name", "family_name", "preferred_username", "birthdate", "gender", "birthplace", "birthcountry", "email"}
assert set(told) == wanted and re.fullmatch(r"\d{4}-\d\d-\d\d", told["birthdate"]), told
assert told["family_name"].isupper() and told["birthcountry"] == "99100", told
ok("claims")

browser = requests.Session()
tokens(pushed=False, browser=browser)
nonce = generate_token(16)
_, url, _, _ = begin(False, nonce)
quiet = browser.get(url + "&prompt=none", timeout=30, allow_redirects=False)
assert "code=" in quiet.headers["location"], quiet.headers
stranger = requests.get(url + "&prompt=none", timeout=30, allow_redirects=False)
assert "error=login_required" in stranger.headers["location"], stranger.headers
ok("single sign-on")

first = token["refresh_token"]
renewed = client.refresh_token(about["token_endpoint"], refresh_token=first)
assert renewed["refresh_token"] != first
assert client.get(about["userinfo_endpoint"]).status_code == 200
ok("refresh")
refused("invalid_grant", lambda: client.refresh_token(about["token_endpoint"], refresh_token=first))
refused("invalid_grant", lambda: client.refresh_token(about["token_endpoint"], refresh_token=renewed["refresh_token"]))
bearer = {"authorization": "Bearer " + renewed["access_token"]}
assert requests.get(about["userinfo_endpoint"], headers=bearer, timeout=30).status_code == 401
ok("a refresh token that is shown twice ends them all")

client, token, back, verifier = tokens(pushed=False)
refused(
    "invalid_grant",
    lambda: client.fetch_token(about["token_endpoint"], authorization_response=back, code_verifier=verifier),
)
bearer = {"authorization": "Bearer " + token["access_token"]}
assert requests.get(about["userinfo_endpoint"], headers=bearer, timeout=30).status_code == 401
ok("a code that is shown twice ends its tokens")

client, token, _, _ = tokens(pushed=False)
assert client.revoke_token(about["revocation_endpoint"], token=token["refresh_token"]).status_code == 200
refused("invalid_grant", lambda: client.refresh_token(about["token_endpoint"], refresh_token=token["refresh_token"]))
ok("revocation")

_, old, _, _ = tokens(pushed=False)
before = {key["kid"] for key in document("/jwks")["keys"]}
ok("before rotation")
sys.stdin.readline()
_, new, _, _ = tokens(pushed=False)
after = {key["kid"] for key in document("/jwks")["keys"]}
assert before < after, (before, after)
for kept in (old, new):
    JsonWebToken(["ES256"]).decode(kept["id_token"], JsonWebKey.import_key_set(document("/jwks")))
    bearer = {"authorization": "Bearer " + kept["access_token"]}
    assert requests.get(about["userinfo_endpoint"], headers=bearer, timeout=30).status_code == 200
ok("rotation of keys")
