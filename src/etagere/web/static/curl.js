"use strict";
// Only the browser knows the address under which it reached the service.
const line = document.getElementById("curl");
line.textContent = `curl '${new URL(line.dataset.href, location.href)}'`;
document.getElementById("spelt").hidden = false;
