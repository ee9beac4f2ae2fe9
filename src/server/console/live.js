// What makes pages live. Every page does without.
"use strict";

document.documentElement.classList.add("live");

// A search form that answers while one types: its page is fetched, and the part of that name is put in place.
for (const form of document.querySelectorAll("form[data-live]")) {
  let asked = 0;
  const ask = async () => {
    const number = ++asked;
    const url = form.getAttribute("action") + "?" + new URLSearchParams(new FormData(form));
    const answer = await fetch(url, { credentials: "same-origin" });
    if (!answer.ok || number !== asked) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const part = page.getElementById(form.dataset.live);
    if (!part || number !== asked) return;
    document.getElementById(form.dataset.live).replaceWith(part);
    if (part.dataset.events) follow(part);
    history.replaceState(null, "", url);
  };
  let pause;
  form.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(ask, 120);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
}

// Parts that the server keeps up to date. What is focused in them stays so; what a piece has for news is told by screen readers.
function follow(part) {
  const source = new EventSource(part.dataset.events);
  source.onmessage = (event) => {
    if (!part.isConnected) return source.close();
    const piece = new DOMParser().parseFromString(event.data, "text/html");
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...piece.body.childNodes);
    if (focused) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
    const news = document.getElementById(part.dataset.news);
    const text = part.querySelector("[data-news-text]")?.textContent ?? "";
    if (news && news.textContent !== text) news.textContent = text;
  };
  source.addEventListener("end", () => source.close());
  addEventListener("pagehide", () => source.close());
}
for (const part of document.querySelectorAll("[data-events]")) follow(part);

// A form that is told, while one types, what its name would be. Never the value: only the fields named here are sent.
for (const form of document.querySelectorAll("form[data-check]")) {
  const into = document.getElementById(form.dataset.checkInto);
  let asked = 0;
  let pause;
  const ask = async () => {
    const number = ++asked;
    const fields = new FormData(form);
    const body = new URLSearchParams();
    for (const name of ["csrf", "name", "visibility"]) body.set(name, fields.get(name) ?? "");
    const answer = await fetch(form.dataset.check, { method: "POST", body, credentials: "same-origin" });
    if (number !== asked) return;
    const piece = new DOMParser().parseFromString(answer.ok ? await answer.text() : "", "text/html");
    into.replaceChildren(...piece.body.childNodes);
  };
  form.addEventListener("input", (event) => {
    if (event.target.name !== "name" && event.target.name !== "visibility") return;
    clearTimeout(pause);
    pause = setTimeout(ask, 150);
  });
}
