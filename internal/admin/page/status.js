"use strict";
// Everything that comes from the server is put into the page as text, never as markup: peers have written some of it.

const every = 1000; // ms between two looks
const byId = (id) => document.getElementById(id);
const state = byId("state"), search = byId("q"), paused = byId("pause"), services = byId("services");

const last = new Map(); // by service and connection: time, received and delivered of the look before

const number = (n) => Math.round(n).toLocaleString("en-US");
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (i && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}
function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return s + " s";
  if (s < 7200) return Math.round(s / 60) + " min";
  if (s < 172800) return Math.round(s / 3600) + " h";
  return Math.round(s / 86400) + " d";
}

// cell makes a table cell; lines after the first are small.
function cell(lines, kind) {
  const td = document.createElement("td");
  if (kind) td.className = kind;
  const [first, ...rest] = [].concat(lines);
  td.append(String(first));
  for (const line of rest) {
    if (!line) continue;
    const small = document.createElement("small");
    small.textContent = line;
    td.append(small);
  }
  return td;
}

function fill(table, rows, columns, nothing) {
  const heads = table.tHead ? [...table.tHead.rows[0].cells].map((th) => th.textContent) : [];
  const out = rows.map((cells) => {
    const tr = document.createElement("tr");
    cells.forEach((td, i) => { td.dataset.head = heads[i] || ""; }); // for narrow windows
    tr.append(...cells);
    return tr;
  });
  if (!out.length) {
    const tr = document.createElement("tr"), td = cell(nothing, "none");
    td.colSpan = columns;
    tr.append(td);
    out.push(tr);
  }
  table.tBodies[0].replaceChildren(...out);
}

// rates returns messages a second since the look before; null: this is the first.
function rates(service, c, now) {
  const key = service + " " + c.id, before = last.get(key);
  last.set(key, { at: now, received: c.received, delivered: c.delivered });
  if (!before || now <= before.at) return null;
  const seconds = (now - before.at) / 1000;
  return { in: (c.received - before.received) / seconds, out: (c.delivered - before.delivered) / seconds };
}

function connection(service, c, now) {
  const r = rates(service, c, now), trouble = [];
  if (c.stalled_seconds > 0) trouble.push("stalled for " + span(c.stalled_seconds));
  if (c.missed) trouble.push(number(c.missed) + " for it died");
  if (c.dropped) trouble.push(number(c.dropped) + " of it died, last " + c.last_drop);
  if (c.unmatched) trouble.push(number(c.unmatched) + " to names nobody holds");
  const names = c.some_names || [];
  return [
    cell(c.id, "n"), cell([c.kind, c.state === "active" ? "" : c.state, c.dials && "dialled"]),
    cell([c.remote, c.auth && (c.identity || "somebody") + " (" + c.auth + ")", c.agent, c.node && "node " + c.node, c.link_id && "link " + c.link_id], "text"),
    cell(trouble.length ? trouble : "", "text bad"),
    cell(r ? number(r.in) : "…", "n"), cell(r ? number(r.out) : "…", "n"),
    cell([number(c.received), bytes(c.received_bytes)], "n"), cell([number(c.delivered), bytes(c.delivered_bytes)], "n"),
    cell([number(c.queued), c.queued ? bytes(c.queued_bytes) : ""], "n" + (c.queued ? " bad" : "")),
    cell(c.held_bytes ? bytes(c.held_bytes) : "", "n"),
    cell(c.names ? [number(c.names), ...names, c.names > names.length ? "…" : ""] : "none", "text"),
    cell(span(c.age_seconds), "n"),
  ];
}

const clock = (t) => new Date(t).toLocaleTimeString();
const reasons = (counts) => Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([r, n]) => [cell(r), cell(number(n), "n")]);

function show(section, s, now) {
  const part = (q) => section.querySelector(q);
  part("h2").textContent = s.id;
  part(".about").textContent = [s.node_id, s.deployment && "of " + s.deployment,
    s.listeners.length ? "listens on " + s.listeners.join(", ") : "listens nowhere"].filter(Boolean).join(" · ");
  const answers = s.answers.map((text) => {
    const li = document.createElement("li");
    li.textContent = text;
    return li;
  });
  if (s.error) {
    const li = document.createElement("li");
    li.className = "bad";
    li.textContent = s.error;
    answers.unshift(li);
  }
  part(".answers").replaceChildren(...answers);
  const gauges = [...Object.entries(s.gauges), ...Object.entries(s.totals)].map(([name, n]) => {
    const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name.replaceAll("_", " ");
    dd.textContent = name.includes("bytes") ? bytes(n) : number(n);
    if (n && ["stalled", "late_loops", "panics"].includes(name)) dd.className = "bad";
    div.append(dt, dd);
    return div;
  });
  part(".gauges").replaceChildren(...gauges);
  const counts = section.querySelectorAll("h3 .count");
  counts[0].textContent = s.connections.length < s.connections_matching
    ? `the first ${s.connections.length} of ${number(s.connections_matching)}, those in trouble before others` : number(s.connections_matching);
  counts[1].textContent = s.names_complete ? number(s.names.length) : `${s.names.length} of more: ask for one`;
  fill(part(".connections"), s.connections.map((c) => connection(s.id, c, now)), 12, "none");
  part(".links").hidden = !s.links.length;
  fill(part(".links table"), s.links.map((l) => [
    cell([l.endpoint, l.kind + (l.link_id ? ", link " + l.link_id : "")], "text"), cell(l.state, l.state === "up" ? "" : "bad"),
    cell(l.since ? span((now - Date.parse(l.since)) / 1000) : "", "n"),
    cell(l.failure ? [l.failure, clock(l.failed)] : "", "text" + (l.state === "up" ? "" : " bad")),
    cell(number(l.attempts), "n"), cell(number(l.losses), "n"),
  ]), 6, "none");
  part(".peers").hidden = !s.peers.length;
  fill(part(".peers table"), s.peers.map((p) => [
    cell([p.node || "unknown", p.dials ? "dialled by this node" : "has dialled this node"], "text"), 
    cell(p.state === "standby" ? [p.state, p.loop_through ? `its loop goes on through ${p.loop_through}` : ""] : p.state, p.state === "behind" ? "bad" : ""),
    cell(p.connection, "n"), cell(number(p.learned), "n"), cell(number(p.told), "n"), cell(p.sync_seconds ? span(p.sync_seconds) : "", "n"),
    cell(span(p.age_seconds), "n"),
  ]), 7, "none");
  fill(part(".names"), s.names.map((n) => [
    cell(n.name, "text"), cell(Object.entries(n.holders).map(([k, c]) => `${number(c)} ${k}`).join(", ")), cell(n.some_connections.join(", ")),
  ]), 3, "nobody holds such a name");
  fill(part(".deaths"), s.deaths.map((d) => [
    cell(clock(d.last)), cell(d.reason, "bad"), cell(d.name, "text"), cell(d.source, "text"), cell([d.connection, d.remote], "n"), cell(number(d.count), "n"),
  ]), 6, "none noted");
  fill(part(".dropped"), reasons(s.dropped), 2, "none");
  fill(part(".refused"), reasons(s.refused), 2, "none");
  fill(part(".refusals"), s.refusals.map((r) => [
    cell(clock(r.last)), cell(r.reason, "bad"),
    cell([r.remote, r.agent, r.endpoint && "at " + r.endpoint, r.connection ? "connection " + r.connection : ""], "text"), cell(r.text || "", "text"),
    cell([number(r.count), r.count > 1 ? "since " + clock(r.first) : ""], "n"),
  ]), 5, "none of late");
}

// certificates tells of the certificates in use; their trouble is told among the answers, in words.
function certificates(all, answers, now) {
  byId("certificates").hidden = !all.length;
  fill(byId("certificates").querySelector("table"), all.map((c) => {
    const ends = c.not_after ? Date.parse(c.not_after) : 0, bad = answers.some((a) => a.startsWith(`The certificate of ${c.endpoint} (${c.key}):`));
    return [
      cell([c.endpoint, c.service + " " + c.key], "text"), cell(c.subject || "none is shown", "text"),
      cell(ends ? [new Date(ends).toLocaleDateString(), ends > now ? "in " + span((ends - now) / 1000) : "it has expired"] : "", bad ? "bad" : ""),
      cell(c.fault ? ["not loaded since " + clock(c.failed), c.fault, number(c.failures) + " loads have failed"] : "", "text bad"),
      cell(clock(c.loaded), "n"),
    ];
  }), 5, "none");
}

// auth tells of what authentication stands on; its trouble is told among the answers, too.
function auth(all) {
  byId("auth").hidden = !all.length;
  fill(byId("auth").querySelector("table"), all.map((a) => [
    cell([a.endpoint, a.key ? a.service + " " + a.key : ""], "text"), cell(a.what),
    cell(a.fault ? ["not loaded since " + clock(a.failed), a.fault, number(a.failures) + " loads have failed"] : "", "text bad"),
    cell(a.loaded ? clock(a.loaded) : "", "n"),
  ]), 4, "none");
}

function draw(st) {
  const now = Date.parse(st.time);
  byId("answers").replaceChildren(...st.answers.map((text) => {
    const li = document.createElement("li");
    li.className = "bad";
    li.textContent = text;
    return li;
  }));
  certificates(st.certificates, st.answers, now);
  auth(st.auth);
  state.textContent = st.not_ready ? "not ready: " + st.not_ready : "ready";
  state.className = st.not_ready ? "bad" : "ok";
  byId("build").textContent = `${st.build.version} ${st.build.sha || ""} · ${st.build.go} · up ${span((now - Date.parse(st.started)) / 1000)}`;
  const c = st.config, config = byId("config");
  config.hidden = !c || !(c.file || c.faults);
  if (!config.hidden) {
    config.textContent = `${c.file} loaded ${clock(c.loaded)}` +
      (c.succeeded ? "" : `; the last reload, ${clock(c.last_reload)}, changed nothing`) +
      (c.needs_restart ? `; not in effect before a restart: ${c.needs_restart.join(", ")}` : "");
    config.className = c.succeeded && !c.needs_restart ? "" : "bad";
  }
  while (services.children.length > st.services.length) services.lastChild.remove();
  while (services.children.length < st.services.length) services.append(byId("service").content.cloneNode(true));
  st.services.forEach((s, i) => show(services.children[i], s, now));
  if (last.size > 5000) last.clear();
}

let asking = false, asked = "";
async function look() {
  if (asking || document.hidden) return;
  asking = true;
  asked = search.value;
  try {
    const answer = await fetch("status.json?" + new URLSearchParams({ q: asked }), { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(await answer.text());
    draw(await answer.json());
    document.body.dataset.looks = 1 + Number(document.body.dataset.looks || 0);
  } catch (e) {
    state.textContent = "no answer: " + e.message;
    state.className = "bad";
  } finally {
    asking = false;
    if (search.value !== asked) look();
  }
}

byId("search").addEventListener("submit", (e) => e.preventDefault());
search.addEventListener("input", look);
const wish = new URLSearchParams(location.search).get("q");
if (wish) search.value = wish;
setInterval(() => { if (!paused.checked) look(); }, every);
look();
