// Tells when the page is older than it says it may be, and loads it again while there is something to load: what people
// read must not give way to an error page. Without scripts the times still stand on the page, and it loads itself again.
"use strict";
(function () {
  const box = document.getElementById("silent");
  const page = document.documentElement.dataset;
  const until = Date.parse(page.validUntil);
  const look = function () {
    box.hidden = !(Date.now() > until);
  };
  const again = function () {
    fetch(location.href, { method: "HEAD", cache: "no-store" }).then(
      function (answer) {
        if (answer.ok) {
          location.reload();
        }
      },
      function () {},
    );
  };
  look();
  setInterval(look, 1000);
  setInterval(again, Number(page.refreshS) * 1000);
})();
