// The filters of the claims ledger: rows whose verdict or paper is not chosen are hidden. Loaded on every page.
(() => {
  function serve(form) {
    const ledger = form.closest(".ledger");
    const update = () => {
      const verdicts = [...form.querySelectorAll("input:checked")].map((box) => box.value);
      const paper = form.querySelector("select").value;
      let shown = 0;
      for (const section of ledger.querySelectorAll("section")) {
        let here = 0;
        for (const row of section.querySelectorAll("tr[data-verdict]")) {
          row.hidden = !verdicts.includes(row.dataset.verdict) || (paper !== "" && section.dataset.paper !== paper);
          here += !row.hidden;
        }
        section.hidden = here === 0;
        shown += here;
      }
      const all = ledger.querySelectorAll("tr[data-verdict]").length;
      form.querySelector("output").value = `${shown} of ${all} claims shown`;
    };
    form.addEventListener("change", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    update();
  }

  const start = () => document.querySelectorAll(".ledger form[hidden]").forEach(serve);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
