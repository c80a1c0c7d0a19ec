// What the sliders of chapters show. A page holds <div class="sliders" data-name="NAME" data-values="JSON"> with range
// inputs; the function of that name is called with their values, the <div> and the JSON whenever one moves. It draws
// into the picture of the <div> and returns the HTML of the reading, or fills in the reading that is there.
(() => {
  const sum = (numbers) => numbers.reduce((a, v) => a + v, 0);
  const SHOWS = {
    // A Gaussian spot on an image: its share of attention on either patch, relative to the patch's share of the area.
    spot([x, y, width], root, places) {
      const circle = root.querySelector("circle");
      circle.setAttribute("cx", x);
      circle.setAttribute("cy", y);
      circle.setAttribute("r", 3 * width);
      const inside = ([top, left, side]) => {
        let all = 0, on = 0;
        for (let i = 0; i < 64; i++) for (let j = 0; j < 64; j++) {
          const v = Math.exp(-((i + 0.5 - y) ** 2 + (j + 0.5 - x) ** 2) / (2 * width * width));
          all += v;
          if (i >= top && i < top + side && j >= left && j < left + side) on += v;
        }
        return on / all / (side / 64) ** 2;
      };
      return Object.entries(places).map(([name, place]) =>
        `attention share, ${name} patch: <strong>${inside(place).toFixed(2)}</strong>`).join("<br>");
    },

    // Proposition 1: two fine classes of either super-class on a circle, apart by an angle.
    prop1([degrees, norm], root) {
      const half = degrees * Math.PI / 360, c2 = norm * norm, e = Math.exp;
      root.querySelector("g").innerHTML = ["husky", "poodle", "bengal", "siamese"].map((name, k) => {
        const left = k > 1, x = (left ? -1 : 1) * Math.cos(half), y = (k % 2 ? 1 : -1) * Math.sin(half);
        return `<circle cx="${x}" cy="${y}" r=".06" fill="${left ? "#D55E00" : "#0072B2"}"/>
          <text x="${x + (left ? -.1 : .1)}" y="${y + (k % 2 ? .16 : -.05)}"
          text-anchor="${left ? "end" : "start"}">${name}</text>`;
      }).join("");
      const s = c2 * Math.cos(2 * half), loss = Math.log1p(e(-2 * c2 * Math.cos(half)));
      const p = e(c2) / (e(c2) + e(s) + e(-s) + e(-c2));
      return `super-class loss <strong>${loss.toPrecision(4)}</strong> nats<br>fine probability
        <strong>${p.toFixed(3)}</strong><br>best fine accuracy <strong>${degrees ? 100 : 50} %</strong>`;
    },

    // Proposition 2: two classes at the corners of a square, one image turned away from its own, one class lifted.
    prop2([degrees, height], root) {
      const angles = [45, 225 + degrees, 135, 315].map((a) => a * Math.PI / 180), classes = [0, 0, 1, 1];
      const norm = Math.hypot(1, height);
      const points = angles.map((a, i) =>
        [Math.cos(a), Math.sin(a), (classes[i] ? -1 : 1) * height].map((v) => v / norm));
      root.querySelector("g").innerHTML = angles.map((a, i) => {
        const x = Math.cos(a), y = -Math.sin(a);
        return classes[i] ? `<rect x="${x - .09}" y="${y - .09}" width=".18" height=".18" fill="#D55E00"/>`
          : `<circle cx="${x}" cy="${y}" r=".1" fill="#0072B2"
            ${i ? 'stroke="currentColor" stroke-width=".04"' : ""}/>`;
      }).join("");
      const dot = (a, b) => sum(a.map((v, k) => v * b[k]));
      const alpha = Math.min(...points.map((a) => 1 / sum(points.map((b) => Math.exp(dot(a, b) - 1)))));
      const mates = points.filter((a, i) => points.every((b, j) => j === i || classes[j] === classes[i] ||
        dot(a, b) < dot(a, points[i ^ 1]) - 1e-9)).length;
      return `instance accuracy <strong>${height > 0 || degrees !== 90 ? 100 : 75} %</strong>, smallest probability
        <strong>${alpha.toFixed(3)}</strong><br>best linear fine accuracy
        <strong>${height > 0 || degrees > 90 ? 100 : 75} %</strong><br>
        nearest other image is the classmate for <strong>${mates} of 4</strong>`;
    },

    // The bound of Theorem 1 from its constants; a, b, alpha and 1 - beta as powers of ten.
    bound([c, logAlpha, logRest, a, b, z, most]) {
      if (z > most) return "A fine class cannot have more images than its super-class.";
      const ln = Math.LN10, alpha = 10 ** logAlpha, beta = 1 - 10 ** logRest;
      const odds = [a * ln + Math.log(alpha / (1 - alpha)), b * ln + Math.log(beta / (1 - beta))];
      const top = Math.max(...odds);
      if (top > c * c) return `<strong>No features have these constants</strong>: a product f·w of at least
        ${top.toFixed(2)} is needed, and norms of at most c allow ${(c * c).toFixed(2)}.`;
      const s = odds.map((o) => Math.sqrt(2 * c * c - 2 * o)), D = 2 * c * sum(s);
      const h = -D * (z - 1) / z / ln, largest = 1 / (1 + (most - 1) * Math.exp(-D));
      return `S<sub>I</sub> = ${s[0].toFixed(2)}, S<sub>B</sub> = ${s[1].toFixed(2)}, D = ${D.toFixed(2)},
        log10 h = ${h.toFixed(2)}<br>log10 of the bound <strong>${(logAlpha + Math.log10(z) + h).toFixed(2)}</strong>,
        ceiling ${((z - 1) / z * Math.log10((z - 1) / (most - 1))).toFixed(2)}, guess within the super-class
        ${Math.log10(z / most).toFixed(2)}<br>` + (alpha > largest
        ? `<strong>No features have these constants</strong>: with this D, α is at most ${largest.toPrecision(3)}.`
        : "Nothing derived on this page rules these constants out.");
    },

    // Multiply-adds of a training step: the network, a full instance head, and one within super-classes.
    cost([logImages, logClasses, logDimensions, s], root, {trunk, full: fullColour, within: withinColour}) {
      const n = Number((10 ** logImages).toPrecision(2)), b = Math.round(10 ** logClasses), d = 2 ** logDimensions;
      root.querySelectorAll("label").forEach((label, i) => {
        const [shown, slider] = label.children;
        slider.ariaValueText = [n, b, d, s][i].toLocaleString("en");
        shown.textContent = `: ${slider.ariaValueText}`;
      });
      const sizes = Array.from({length: b}, (_, k) => (k + 1) ** -s), full = n * d;
      const within = full * sum(sizes.map((v) => v * v)) / sum(sizes) ** 2, most = Math.max(trunk, full);
      const rows = [["ResNet-18", trunk, "#7F7F7F"], ["head, Eq. 4", full, fullColour],
        ["head, Eq. 5", within, withinColour]];
      return `<table style="width:100%"><thead><tr><th></th><th style="width:35%"></th><th>multiply-adds per image</th>
        <th>of the whole step</th></tr></thead><tbody>` + rows.map(([name, cost, colour]) => `<tr>
        <th scope="row" style="white-space:nowrap">${name}</th>
        <td><div class="bar" style="width:${100 * cost / most}%;background:${colour}"></div></td>
        <td>${(cost / 1e6).toLocaleString("en", {maximumFractionDigits: 2})} million</td>
        <td>${cost === trunk ? "" : (100 * cost / (trunk + cost)).toFixed(2) + " %"}</td></tr>`).join("") +
        `</tbody></table><p>The head of Eq. 5 costs ${(100 * within / full).toPrecision(3)} % of that of Eq. 4, the whole
        step ${(100 * (trunk + within) / (trunk + full)).toPrecision(3)} %. Weights, gradient and momentum of the head
        take ${(12 * full / 1e9).toPrecision(3)} GB in float32, in both.</p>`;
    },

    // Gradients of cross entropy and of gradient boosting at one label and its negatives, hardest first.
    boosting([k, spread, own], root, {draw, tops}) {
      const scores = [own, ...draw.map((v) => spread * v)], e = scores.map(Math.exp);
      const gradient = (kept) => {
        const all = sum(e.slice(0, kept + 1));
        return e.map((v, i) => (i > kept ? 0 : v / all) - (i === 0 ? 1 : 0));
      };
      const both = [gradient(draw.length), gradient(k)], top = tops.find((t) => t >= Math.max(both[0][1], both[1][1]));
      const bars = root.querySelectorAll("svg g:first-child rect");
      both.flat().forEach((g, n) => {
        const height = n % e.length ? 170 * g / top : -170 * g;
        bars[n].setAttribute("height", height.toFixed(2));
        bars[n].setAttribute("y", (n % e.length ? 200 - height : 30).toFixed(2));
      });
      root.querySelector(".cut").setAttribute("d", `M${(112 + 6.2 * k).toFixed(1)} 26V204`);
      root.querySelector(".top").textContent = top;
      const lost = sum(both[0].slice(k + 1));
      const texts = [`${(100 * lost).toFixed(1)} %`, (1 / (1 - lost)).toFixed(2)];
      for (const i of [0, 1, k, k + 1])
        texts.push(...[scores, ...both].map((v) => i < e.length ? v[i].toFixed(3) : "–"));
      const places = root.querySelectorAll(".reading :is(strong, td)");
      texts.forEach((text, i) => places[i].textContent = text.replace("-", "−"));
    },
  };

  function serve(root) {
    const inputs = [...root.querySelectorAll("input")], data = JSON.parse(root.dataset.values);
    const update = () => {
      for (const input of inputs) input.previousElementSibling.textContent = `: ${input.value}`;
      const html = SHOWS[root.dataset.name](inputs.map((input) => Number(input.value)), root, data);
      if (html) root.querySelector(".reading").innerHTML = html;
    };
    root.addEventListener("input", update);
    root.querySelector("form").hidden = false;
    update();
  }

  const start = () => {
    for (const form of document.querySelectorAll(".sliders form[hidden]")) serve(form.closest(".sliders"));
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
