"use strict";
// Follows a run by its event stream; where that fails, by the conversation of docs/conversation.md, as any client
// holds it: ask, keep the tag, ask again with it.
const { result, alias } = document.body.dataset;
const state = document.getElementById("state");
const progress = document.getElementById("progress");
const numbers = document.getElementById("numbers");
const message = document.getElementById("message");
const name = document.title;
const PENDING = [202, 304, 503];
let tag = null;

function show(status) {
  if (state.textContent !== status.state) state.textContent = status.state;
  const parts = [];
  if (status.position) parts.push(`number ${status.position} in the queue`);
  if (status.progress !== undefined) {
    progress.value = Number(status.progress);
    const percent = `${Math.floor(progress.value * 100)} %`;
    parts.push(percent);
    document.title = `${percent} ${name}`;
  }
  if (status.eta !== undefined) parts.push(`about ${duration(Number(status.eta))} left`);
  numbers.textContent = parts.join(", ");
  message.textContent = status.message ?? message.textContent;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function finish() {
  state.textContent = "finished";
  if (result) location.replace(result);
  else location.reload();
}

function follow() {
  const source = new EventSource(`${alias}/events`);
  source.addEventListener("status", (event) => {
    const status = JSON.parse(event.data);
    if (status.state === "queued" || status.state === "running") {
      show(status);
    } else {
      source.close();
      finish();
    }
  });
  source.addEventListener("error", () => {
    source.close();
    poll();
  });
  // A stream left open would keep the browser from restoring this page.
  addEventListener("pagehide", () => source.close());
}

async function ask() {
  const headers = { Accept: "*/*" };
  if (tag) headers["If-None-Match"] = tag;
  const answer = await fetch(alias, { method: "HEAD", headers, cache: "no-store" });
  if (!PENDING.includes(answer.status)) {
    finish();
    return;
  }
  tag = answer.headers.get("ETag") ?? tag;
  const status = answer.headers.get("Run-Status");
  if (status) show(Object.fromEntries(status.split(", ").map((field) => field.split("="))));
  setTimeout(poll, 1000 * Math.min(5, Number(answer.headers.get("Retry-After")) || 1));
}

function poll() {
  ask().catch(() => {
    message.textContent = "The server does not answer; trying again.";
    setTimeout(poll, 5000);
  });
}

// To look at the state of a resource that nobody asks for does not start it.
if (progress) follow();
else if (document.body.dataset.state === "succeeded") finish();
