// Makes the pages quicker: swaps content in place, previews schedules, keeps pages up to date, and
// adds shortcuts. Every page works without this script.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const PREVIEW_MS = 150, SEARCH_MS = 250, REFRESH_MS = 5000, POLL_MS = 15000, UNDO_MS = 10000;

/* Swapping: links and forms inside an element with data-swap replace <main> instead of the page. */

async function fetchPage(url, options) {
  const response = await fetch(url, { ...options, headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return { url: response.url, page, main: $("#main", page) };
}

async function swap(url, options = {}, keep = "push") {
  let got;
  try {
    got = await fetchPage(url, options);
  } catch {
    if (options.method === "POST") showOffline(); else location.assign(url);
    return;
  }
  if (!got.main || new URL(got.url).pathname === "/login") {
    location.assign(got.url);
    return;
  }
  const active = document.activeElement, focused = keyOf(active), scroll = scrollY;
  const isSamePage = new URL(got.url).pathname === location.pathname;
  $("#main").replaceChildren(...got.main.childNodes);
  const nav = $(".top nav", got.page);
  if (nav) $(".top nav").replaceWith(nav);
  document.title = got.page.title;
  if (keep === "push") history.pushState(null, "", got.url);
  else if (keep === "replace") history.replaceState(null, "", got.url);
  const again = focused && find(focused);
  if (again) {
    again.focus({ preventScroll: true });
    if (again.type === "search") {
      again.value = active.value; // with what was typed while the page was fetched
      again.setSelectionRange(active.selectionStart, active.selectionEnd);
    }
  } else $("#main").focus({ preventScroll: true });
  scrollTo(0, isSamePage ? scroll : 0);
  afterSwap();
}

// What names an element on the next version of the page: its id, or its tag with what it does.
function keyOf(element) {
  if (!element || element === document.body) return null;
  if (element.id) return `#${CSS.escape(element.id)}`;
  const tag = element.localName;
  for (const name of ["data-key", "rel", "href", "value", "name"]) {
    const value = element.getAttribute(name);
    if (value) return `${tag}[${name}="${CSS.escape(value)}"]`;
  }
  return null;
}

function find(key) {
  const found = $$(key);
  return found.length === 1 ? found[0] : null;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-swap] a[href]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  swap(link.href);
});

document.addEventListener("submit", (event) => {
  const form = event.target, button = event.submitter;
  if (!form.closest("[data-swap]") || event.defaultPrevented) return;
  event.preventDefault();
  send(form, button);
});

function send(form, button, keep = "push") {
  const data = new FormData(form, button);
  if (form.method === "post") {
    swap(form.action, { method: "POST", body: new URLSearchParams(data) }, keep);
    return;
  }
  const url = new URL(form.action);
  url.search = new URLSearchParams([...data].filter(([, value]) => value !== ""));
  swap(url, {}, keep);
}

addEventListener("popstate", () => swap(location.href, {}, "none"));

/* Typing: a search lists while one types, and a schedule is previewed at every change. */

function debounced(wait, act) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(act, wait, ...args);
  };
}

const search = debounced(SEARCH_MS, (form) => form.isConnected && send(form, null, "replace"));
let previewing;
const preview = debounced(PREVIEW_MS, async (form) => {
  previewing?.abort();
  previewing = new AbortController();
  const data = new FormData(form);
  data.set("preview", "fragment");
  try {
    const body = new URLSearchParams(data);
    const got = await fetchPage(form.action, { method: "POST", body, signal: previewing.signal });
    if (got.main) location.assign(got.url);
    else $(`#${form.dataset.preview}`)?.replaceChildren(...got.page.body.childNodes);
  } catch (error) {
    if (error.name !== "AbortError") showOffline();
  }
});

document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (!form) return;
  if (form.dataset.preview) preview(form);
  else if (form.matches("[role=search]")) search(form);
});

/* Live: the server says that something has changed; the parts marked data-live are read again. */

let stream, refreshedAt = 0, refreshTimer, pollTimer;

function showLive(text) {
  const place = $("#live");
  if (place && place.textContent !== text) place.textContent = text;
}

function showOffline() {
  const at = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (!$("#live")?.textContent.startsWith("offline")) showLive(`offline since ${at}`);
}

function refreshSoon() {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, Math.max(200, refreshedAt + REFRESH_MS - Date.now()));
}

async function refresh() {
  if (document.hidden || !$("[data-live]")) return;
  refreshedAt = Date.now();
  const url = location.href;
  let got;
  try {
    got = await fetchPage(url, {});
  } catch {
    showOffline();
    return;
  }
  if (!got.main || location.href !== url) return;
  for (const part of $$("[data-live]")) {
    const next = $(`#${CSS.escape(part.id)}`, got.page);
    if (!next || next.innerHTML === part.innerHTML) continue;
    if (part.contains(document.activeElement) || $("input:checked", part)) showPill();
    else part.replaceChildren(...next.childNodes);
  }
}

// Rows do not move under a pointer or a focus: a button shows what is new.
function showPill() {
  const pill = $("#pill");
  if (pill) pill.hidden = false;
}

$("#pill")?.addEventListener("click", () => {
  $("#pill").hidden = true;
  swap(location.href, {}, "none");
});

function connect() {
  if (!$("#live")) return;
  clearTimeout(pollTimer);
  stream = new EventSource("/stream");
  stream.addEventListener("open", () => showLive("live"));
  stream.addEventListener("change", refreshSoon);
  stream.addEventListener("error", () => {
    showOffline();
    if (stream.readyState !== EventSource.CLOSED) return;
    pollTimer = setTimeout(() => { refresh(); connect(); }, POLL_MS);
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream?.close();
    clearTimeout(pollTimer);
    showLive("paused");
  } else {
    connect();
    refreshSoon();
  }
});

/* Shortcuts of one letter, unless they are switched off. No action is without a button. */

const GO = { t: "/", c: "/calendar", a: "/campaigns", r: "/runs" };
const VIEWS = { m: "month", w: "week", d: "day", a: "agenda" };
let went = 0;

function press(selector) {
  const found = $(selector);
  found?.click();
  return Boolean(found);
}

function moveRow(by) {
  const rows = $$(".rows tbody tr").filter((row) => $("a", row));
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
  $("a", row)?.focus();
  return rows.length > 0;
}

function moveDay(key) {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 }[key];
  const days = $$(".cal .num");
  const at = days.indexOf(document.activeElement.closest?.(".cal td")?.querySelector(".num"));
  if (!by || at < 0) return false;
  days[at + by]?.focus();
  return true;
}

function shortcut(key) {
  if (Date.now() - went < 1500 && GO[key]) return location.assign(GO[key]), true;
  const ticked = document.activeElement.closest?.("tr")?.querySelector("input[type=checkbox]");
  switch (key) {
    case "g": went = Date.now(); return true;
    case "/": {
      const field = $("input[type=search]");
      if (field) field.focus(); else location.assign("/campaigns");
      return true;
    }
    case "?": $("#help")?.showModal(); return true;
    case "j": return moveRow(1);
    case "k": return moveRow(-1);
    case "x": ticked?.click(); return Boolean(ticked);
    case "[": return press("a[rel=prev]");
    case "]": return press("a[rel=next]");
    case "t": return press("a[data-key=t]");
    case "p": case "e": return press(`[data-key=${key}]`);
    case ".": return press(".danger > summary");
    default: return VIEWS[key] ? press(`a[data-view=${VIEWS[key]}]`) : false;
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (event.target.matches("input:not([type=checkbox], [type=radio]), select, textarea")) return;
  const isOn = document.body.dataset.shortcuts === "on";
  if (moveDay(event.key) || (isOn && shortcut(event.key))) event.preventDefault();
});

/* Dragging: a coming run that is dropped on another day opens the editor with that day. */

document.addEventListener("dragstart", (event) => {
  const entry = event.target.closest?.(".entry.ahead[data-move]");
  if (entry) event.dataTransfer.setData("text/x-campaign", entry.dataset.move);
});
document.addEventListener("dragover", (event) => {
  const isOurs = event.dataTransfer.types.includes("text/x-campaign");
  if (isOurs && event.target.closest?.("td[data-day]")) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  const day = event.target.closest?.("td[data-day]")?.dataset.day;
  const path = event.dataTransfer.getData("text/x-campaign");
  if (!day || !path.startsWith("/campaigns/")) return;
  event.preventDefault();
  location.assign(`${path}?day=${day}`);
});

/* At the start, and after each swap */

function afterSwap() {
  const url = new URL(location.href);
  for (const name of ["done", "n", "refused", "ids"]) url.searchParams.delete(name);
  if (url.href !== location.href) history.replaceState(null, "", url);
  const undo = $("[data-undo]");
  if (undo) setTimeout(() => undo.remove(), UNDO_MS);
}

// The first visit: times are shown in the zone of the browser.
function takeZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone || document.cookie.includes("campaignd_preferences=")) return;
  const value = `${encodeURIComponent(zone)}|1|1`;
  document.cookie = `campaignd_preferences=${value}; path=/; max-age=34560000; samesite=strict`;
  if ($("#live") && zone !== document.body.dataset.zone) location.reload();
}

takeZone();
afterSwap();
connect();
