"use strict";
// Only the browser knows the address under which it reached the service.
const root = new URL("../", location.href).href;
for (const place of document.querySelectorAll(".root")) place.textContent = root;
