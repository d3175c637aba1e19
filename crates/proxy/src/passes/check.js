"use strict";
// Starts the work of the page in a worker, shows how far it is, and sends what was found. Where that does not work, the
// page waits instead, as it does without scripts.
(function () {
  var form = document.getElementById("work");
  if (!form) { return; }
  var says = document.getElementById("says"), bar = document.getElementById("bar"), parts = Number(form.dataset.parts);
  function waits() {
    says.textContent = form.dataset.waiting;
    bar.hidden = true;
    setTimeout(function () { location.replace(form.dataset.wait); }, 1000 * Number(form.dataset.seconds));
  }
  // Where the browser keeps no cookies, the pass is lost, and it would calculate again and again.
  function again() {
    try {
      var before = Number(sessionStorage.getItem("guichet-pass"));
      sessionStorage.setItem("guichet-pass", String(Date.now()));
      return Date.now() - before < 20000;
    } catch (error) { return !navigator.cookieEnabled; }
  }
  form.hidden = false;
  if (again()) { waits(); return; }
  if (typeof Worker === "undefined") { waits(); return; }
  var worker;
  try { worker = new Worker(form.dataset.worker); } catch (error) { waits(); return; }
  worker.onerror = waits;
  worker.onmessage = function (event) {
    var told = event.data;
    if (told.done) { bar.value = told.done / parts; return; }
    if (!told.numbers) { waits(); return; }
    says.textContent = form.dataset.done;
    form.elements.numbers.value = told.numbers.join(",");
    form.submit();
  };
  says.textContent = form.dataset.working;
  worker.postMessage({ puzzle: form.elements.puzzle.value, bits: Number(form.dataset.bits), parts: parts });
})();
