// Passkeys: the browser's part of making one and of signing in by one. Nothing from anywhere else.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const named = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

async function ask(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.detail);
  return value;
}

function whole(made, response) {
  return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, extensions: {}, response });
}

async function make() {
  const { ceremony, options } = await ask("/passkeys/registration/start", {});
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
  const response = { attestationObject: text(attestationObject), clientDataJSON: text(clientDataJSON) };
  return [ceremony, whole(made, response)];
}

async function signIn(form) {
  const { ceremony, options } = await ask("/passkeys/sign-in/start", { user: form.elements.user.value });
  const wanted = options.publicKey;
  const made = await navigator.credentials.get({
    publicKey: { ...wanted, challenge: bytes(wanted.challenge), allowCredentials: named(wanted.allowCredentials) },
  });
  const { authenticatorData, clientDataJSON, signature, userHandle } = made.response;
  const response = {
    authenticatorData: text(authenticatorData),
    clientDataJSON: text(clientDataJSON),
    signature: text(signature),
    userHandle: userHandle ? text(userHandle) : null,
  };
  return [ceremony, whole(made, response)];
}

for (const [id, act] of [["make-passkey", make], ["use-passkey", signIn]]) {
  const form = document.getElementById(id);
  if (!form || !window.PublicKeyCredential) continue;
  form.closest("[hidden]")?.removeAttribute("hidden");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      [form.elements.ceremony.value, form.elements.credential.value] = await act(form);
      // Not the event again: the form goes as it is.
      form.submit();
    } catch (error) {
      form.querySelector("[role=status]").textContent = String(error.message ?? error);
    }
  });
}
