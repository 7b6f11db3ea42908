"use strict";
// Shows the URI that the form stands for; without this script the form is a plain GET all the same.
const form = document.getElementById("inputs");
const controls = [...form.querySelectorAll("[name]")];
const uri = document.getElementById("uri");
const curl = document.getElementById("curl");

// RFC 3986's unreserved characters stand for themselves, everything else is encoded; encodeURIComponent leaves five more.
function encode(text) {
  return encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}

function spell() {
  const pairs = [...new FormData(form)].map(([name, value]) => `${encode(name)}=${encode(value.replace(/\r\n?/g, "\n"))}`);
  const target = new URL(form.getAttribute("action"), location.href);
  target.search = "";
  const text = target.href + (pairs.length ? `?${pairs.join("&")}` : "");
  uri.textContent = text;
  curl.textContent = `curl -i '${text}'`;
}

function check(control) {
  if (!("json" in control.dataset) || !control.value.trim()) {
    control.setCustomValidity("");
    return;
  }
  try {
    JSON.parse(control.value);
    control.setCustomValidity("");
  } catch (error) {
    control.setCustomValidity(`This is not JSON: ${error.message}`);
  }
}

function fill() {
  for (const [name, value] of new URLSearchParams(location.search)) {
    const control = controls.find((candidate) => candidate.name === name);
    if (control) control.value = value;
  }
}

// An optional parameter that is empty is left out. JSON begins with its first bracket.
form.addEventListener("formdata", ({ formData }) => {
  for (const control of controls) {
    if ("json" in control.dataset) formData.set(control.name, control.value.trim());
    if ("optional" in control.dataset && formData.get(control.name) === "") formData.delete(control.name);
  }
});
form.addEventListener("input", ({ target }) => {
  check(target);
  spell();
});

fill();
controls.forEach(check);
spell();
document.getElementById("spelt").hidden = false;
// What a browser restores after a step back, it restores without an event for each control.
addEventListener("pageshow", spell);
