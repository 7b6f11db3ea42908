"use strict";
// The conversation of docs/conversation.md, as any client holds it: ask, keep the tag, ask again with it.
const result = new URL(document.body.dataset.result, location.href);
const name = document.title;
const state = document.getElementById("state");
const progress = document.getElementById("progress");
const detail = document.getElementById("detail");
const PENDING = [202, 304, 503];
let tag = null;

function show(status) {
  const fields = Object.fromEntries(status.split(", ").map((field) => field.split("=")));
  let text = fields.state;
  if (fields.position) text += `, number ${fields.position} in the queue`;
  if (fields.eta) text += `, about ${fields.eta} s left`;
  state.textContent = text;
  if (fields.progress) {
    progress.value = Number(fields.progress);
    document.title = `${Math.floor(progress.value * 100)} % ${name}`;
  }
}

async function ask() {
  const headers = { Accept: "*/*" };
  if (tag) headers["If-None-Match"] = tag;
  const answer = await fetch(result, { method: "HEAD", headers, cache: "no-store" });
  if (!PENDING.includes(answer.status)) {
    location.replace(result);
    return;
  }
  detail.textContent = "";
  tag = answer.headers.get("ETag") ?? tag;
  const status = answer.headers.get("Run-Status");
  if (status) show(status);
  setTimeout(poll, 1000 * Math.min(5, Number(answer.headers.get("Retry-After")) || 1));
}

function poll() {
  ask().catch(() => {
    detail.textContent = "The server does not answer; trying again.";
    setTimeout(poll, 5000);
  });
}

// To look at the state of a resource that nobody asks for does not start it.
if (document.body.dataset.state !== "absent") poll();
