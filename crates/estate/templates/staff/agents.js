// Passkeys for agents: the browser's part of registration and sign-in. Nothing from anywhere else.
"use strict";

const told = document.getElementById("told");

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function ask(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body ?? {}),
  });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.detail);
  return value;
}

const named = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

async function register(form) {
  await ask("/login", { user: form.get("user"), password: form.get("password") });
  const { ceremony, options } = await ask("/passkeys/registration/start");
  const wanted = options.publicKey;
  const made = await navigator.credentials.create({
    publicKey: {
      ...wanted,
      challenge: bytes(wanted.challenge),
      user: { ...wanted.user, id: bytes(wanted.user.id) },
      excludeCredentials: named(wanted.excludeCredentials),
    },
  });
  const { attestationObject, clientDataJSON } = made.response;
  await ask("/passkeys/registration/finish", {
    ceremony,
    credential: {
      id: made.id,
      rawId: text(made.rawId),
      type: made.type,
      extensions: {},
      response: { attestationObject: text(attestationObject), clientDataJSON: text(clientDataJSON) },
    },
  });
}

async function signIn(form) {
  const { ceremony, options } = await ask("/passkeys/sign-in/start", { agent: form.get("agent") });
  const wanted = options.publicKey;
  const made = await navigator.credentials.get({
    publicKey: { ...wanted, challenge: bytes(wanted.challenge), allowCredentials: named(wanted.allowCredentials) },
  });
  const { authenticatorData, clientDataJSON, signature, userHandle } = made.response;
  await ask("/passkeys/sign-in/finish", {
    ceremony,
    credential: {
      id: made.id,
      rawId: text(made.rawId),
      type: made.type,
      extensions: {},
      response: {
        authenticatorData: text(authenticatorData),
        clientDataJSON: text(clientDataJSON),
        signature: text(signature),
        userHandle: userHandle ? text(userHandle) : null,
      },
    },
  });
}

async function read(form) {
  const query = new URLSearchParams({ case: form.get("case") });
  const answer = await fetch(`/files/${encodeURIComponent(form.get("id"))}?${query}`);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.detail);
  document.getElementById("shown").textContent = JSON.stringify(value, null, 2);
}

for (const [id, act] of [["register", register], ["sign-in", signIn], ["file", read]]) {
  document.getElementById(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await act(new FormData(event.target));
      told.textContent = "✓";
    } catch (error) {
      told.textContent = String(error.message ?? error);
    }
  });
}
