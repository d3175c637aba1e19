// Tells when the page is older than it says it may be, and exchanges what it shows for what is newer, while there is
// something newer: what people read must not give way to an error page, and what they hold the focus on not move. Without
// scripts the times still stand on the page, and a link that loads it again.
"use strict";
(function () {
  const page = document.documentElement.dataset;
  const look = function () {
    document.getElementById("silent").hidden = !(Date.now() > Date.parse(page.validUntil));
  };
  const exchange = function (text) {
    const newer = new DOMParser().parseFromString(text, "text/html");
    const [now, then] = [document.querySelector("main"), newer.querySelector("main")];
    if (then && newer.documentElement.dataset.validUntil && !now.contains(document.activeElement)) {
      now.replaceWith(then);
      page.validUntil = newer.documentElement.dataset.validUntil;
      look();
    }
  };
  const again = function () {
    fetch(location.href, { cache: "no-store" }).then(
      function (answer) {
        return answer.ok ? answer.text().then(exchange) : null;
      },
      function () {},
    );
  };
  look();
  setInterval(look, 1000);
  setInterval(again, Number(page.refreshS) * 1000);
})();
