// Sorting, filtering and copying: the page says all that it has to say without them.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    button.title = "Sort by " + head.textContent;
    head.replaceChildren(button);
    let order = 1;
    button.addEventListener("click", () => {
      const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
      const rows = [...body.rows].sort((a, b) => order * key(a).localeCompare(key(b), "en", { numeric: true }));
      body.replaceChildren(...rows);
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
      order = -order;
    });
  });
  const tools = document.createElement("div");
  tools.className = "tools";
  const search = Object.assign(document.createElement("input"), { type: "search", placeholder: "Filter" });
  search.setAttribute("aria-label", "Filter");
  tools.append(search);
  const outcomes = new Set([...body.rows].map((row) => row.dataset.outcome).filter(Boolean));
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", "Outcome");
  choice.append(new Option("all outcomes", ""), ...[...outcomes].sort().map((one) => new Option(one, one)));
  if (outcomes.size) tools.append(choice);
  table.before(tools);
  const filter = () => {
    const words = search.value.toLowerCase();
    for (const row of body.rows) {
      const shown = row.textContent.toLowerCase().includes(words) && (!choice.value || row.dataset.outcome === choice.value);
      row.classList.toggle("hidden", !shown);
    }
  };
  search.addEventListener("input", filter);
  choice.addEventListener("change", filter);
}
for (const block of document.querySelectorAll("pre.yaml")) {
  const button = Object.assign(document.createElement("button"), { className: "copy", textContent: "Copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block);
    }
  });
  block.before(button);
}
