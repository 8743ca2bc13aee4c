"use strict";
(() => {
  const root = document.documentElement;
  const table = document.getElementById("cases");
  const cases = [...table.tBodies];
  const search = document.getElementById("search");
  const chips = [...document.querySelectorAll(".chip")];
  const heads = [...table.tHead.querySelectorAll("button")];
  const select = document.getElementById("sort");
  const unfold = document.getElementById("unfold");
  const themes = ["auto", "light", "dark"];
  const numeric = new Set(["place", "prepack", "tuned", "error", "now", "baseline", "ratio"]);
  let sorted = { key: "place", down: false };

  root.classList.add("js");

  // Some places of the page allow no storage.
  const stored = (value) => {
    try {
      if (value !== undefined) localStorage.setItem("tvmtune-theme", value);
      return localStorage.getItem("tvmtune-theme");
    } catch {
      return null;
    }
  };

  const paint = (theme) => {
    root.dataset.theme = theme;
    document.getElementById("theme").textContent = `Theme: ${theme}`;
  };

  const open = (one, wanted) => {
    one.classList.toggle("open", wanted);
    one.querySelector(".fold").setAttribute("aria-expanded", String(one.classList.contains("open")));
  };

  const texts = new Map();
  const textOf = (one) => {
    if (!texts.has(one)) texts.set(one, one.textContent.toLowerCase());
    return texts.get(one);
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true");
    const verdicts = new Set(wanted.map((chip) => chip.dataset.verdict));
    let shown = 0;
    for (const one of cases) {
      const fits =
        (!verdicts.size || verdicts.has(one.dataset.verdict)) &&
        words.every((word) => textOf(one).includes(word));
      one.hidden = !fits;
      shown += fits;
    }
    document.getElementById("shown").textContent =
      shown === cases.length ? "" : `${shown} of ${cases.length} shown`;
    document.getElementById("none").hidden = shown > 0;
  };

  const value = (one, key) => {
    const text = one.dataset[key];
    return numeric.has(key) ? (text === "" ? NaN : Number(text)) : text;
  };

  const compare = (a, b, key) => {
    const [x, y] = [value(a, key), value(b, key)];
    return typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
  };

  const sort = (key, down) => {
    sorted = { key, down };
    // Cases without a value come last in both directions.
    const lacks = (one) => Number.isNaN(value(one, key));
    const order = [...cases].sort(
      (a, b) =>
        lacks(a) - lacks(b) ||
        (lacks(a) ? 0 : (down ? -1 : 1) * compare(a, b, key)) ||
        Number(a.dataset.place) - Number(b.dataset.place)
    );
    table.append(...order);
    for (const head of heads) {
      const way = head.dataset.key === key ? (down ? "descending" : "ascending") : "none";
      head.closest("th").setAttribute("aria-sort", way);
    }
    select.value = key;
  };

  const follow = () => {
    const one = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!one || !one.matches("tbody.case")) return;
    open(one, true);
    one.scrollIntoView();
  };

  const worstIsLargest = new Set(["ratio", "now", "baseline", "error"]);
  for (const head of heads) {
    const key = head.dataset.key;
    head.addEventListener("click", () =>
      sort(key, sorted.key === key ? !sorted.down : worstIsLargest.has(key))
    );
  }
  select.addEventListener("change", () => sort(select.value, worstIsLargest.has(select.value)));
  search.addEventListener("input", filter);
  search.form.addEventListener("submit", (event) => event.preventDefault());
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      filter();
    });
  }
  for (const one of cases) {
    open(one, one.classList.contains("open"));
    one.querySelector(".row").addEventListener("click", (event) => {
      // Selecting text to copy it isn't a click.
      if (!event.target.closest("a") && !String(getSelection())) open(one);
    });
  }
  unfold.addEventListener("click", () => {
    const wanted = unfold.textContent === "Open all";
    for (const one of cases) if (!one.hidden) open(one, wanted);
    unfold.textContent = wanted ? "Close all" : "Open all";
  });
  document.getElementById("theme").addEventListener("click", () => {
    const theme = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
    stored(theme);
    paint(theme);
  });
  paint(themes.includes(stored()) ? stored() : "auto");
  addEventListener("hashchange", follow);
  follow();
})();
