// Tells when the page is older than it says it may be. Without this the times still stand on it, to be read.
"use strict";
(function () {
  const box = document.getElementById("silent");
  const until = Date.parse(document.documentElement.dataset.validUntil);
  const look = function () {
    box.hidden = !(Date.now() > until);
  };
  look();
  setInterval(look, 1000);
})();
