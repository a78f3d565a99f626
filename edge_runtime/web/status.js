// How the state of the run is shown. What was not measured is a dash, never a zero.

import { DASH } from "/web/faces.js";

const $ = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;
const number = (value, digits = 0, unit = "") => (known(value) ? `${value.toFixed(digits)}${unit}` : DASH);
const count = (value) => (known(value) ? value.toLocaleString("en") : DASH);
const ms = (value) => number(value, value < 10 ? 2 : value < 100 ? 1 : 0);

let shown = "";

/** Shows what /v1/status answers. */
export function showStatus(status) {
  const now = JSON.stringify(status);
  if (now === shown) return;
  shown = now;
  put("source", status.source ?? "");
  document.title = `fer-edge · ${status.source ?? ""}`;
  put("version", `fer-edge ${status.version ?? ""}`);
  put("fps", number(status.fps, 1));
  put("age", known(status.age_ms?.p50_ms) ? `${ms(status.age_ms.p50_ms)} ms` : DASH);
  put("frames", count(status.frames));
  put("faces-total", count(status.faces));
  showHealth(status.health ?? {});
  showCamera(status);
  put("uptime", known(status.uptime_s) ? duration(status.uptime_s) : DASH);
  put("bundle", status.bundle?.name ?? DASH);
  $("bundle").title = status.bundle?.sha256 ?? "";
  put("engine", status.engine ?? DASH);
  put("detector", status.detector ?? DASH);
  showStages(status.stages ?? {});
  showSinks(status.sinks ?? {});
}

function showHealth({ temp_c: temp, throttled, clock_mhz: clock }) {
  put("temp", number(temp, 1, " °C"), known(temp) && temp >= 80 ? "bad" : temp >= 70 ? "warn" : "");
  put("throttled", known(throttled) ? throttled.join(", ") || "none" : DASH, throttled?.length ? "bad" : "");
  put("clock", number(clock, 0, " MHz"));
}

function showCamera({ camera, labels_changed: changed, full_scans: scans, scan_every: every }) {
  put("dropped", camera && known(camera.dropped) ? ofAll(camera.dropped, camera.captured) : DASH);
  put("gaps", camera && known(camera.gaps) ? gaps(camera) : DASH);
  put("changes", number(changed?.per_face_minute, 1, " a face-minute"));
  put("scans", known(scans) ? `${count(scans)}${known(every) ? `, 1 in ${every}` : ""}` : DASH);
}

const ofAll = (part, all) => (all ? `${count(part)} (${((100 * part) / all).toFixed(1)} %)` : count(part));
const gaps = ({ gaps: times, gap_s: long }) => (times && known(long) ? `${times} (${duration(long)})` : String(times));

function showStages(stages) {
  const longest = Math.max(...Object.values(stages).flatMap((stage) => [stage?.p50_ms ?? 0, stage?.p90_ms ?? 0]), 1e-9);
  const body = $("stages");
  Object.entries(stages).forEach(([name, stage], at) => {
    const row = body.rows[at] ?? emptyRow(body);
    row.cells[0].textContent = name;
    row.querySelector("b").style.transform = `scaleX(${(stage?.p50_ms ?? 0) / longest})`;
    row.cells[2].textContent = ms(stage?.p50_ms);
    row.cells[3].textContent = ms(stage?.p90_ms);
  });
}

function emptyRow(body) {
  const row = body.insertRow();
  for (let i = 0; i < 4; i += 1) row.insertCell();
  const rail = document.createElement("div");
  rail.className = "rail";
  rail.append(document.createElement("b"));
  row.cells[1].append(rail);
  return row;
}

function showSinks(sinks) {
  const items = Object.entries(sinks).map(([name, { written, dropped, failed, error }]) => {
    const item = document.createElement("li");
    const lost = [dropped && `${count(dropped)} dropped`, failed && `${count(failed)} failed`].filter(Boolean);
    item.textContent = `${name}: ${[`${count(written)} written`, ...lost, error].filter(Boolean).join(", ")}`;
    item.className = error ? "bad" : "";
    return item;
  });
  $("sinks").replaceChildren(...items);
}

function duration(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function put(id, text, className) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
  if (className !== undefined) element.className = className;
}
