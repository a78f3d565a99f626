// The page of a running camera: listens to /v1/events, shows /stream.mjpg, draws /v1/timeline, sends photos.

import { DASH, LABELS, colour, drawFaces, faceCard, fillCard, percent, reasonOf } from "/web/faces.js";
import { showStatus } from "/web/status.js";

const $ = (id) => document.getElementById(id);
const facesShown = document.documentElement.dataset.faces === "shown";
const MAX_BYTES = 10e6;
const SILENT_MS = 5000;

let heardAt = performance.now();
let status = null;
let lost = false;

// ---- the connection ----

let events = null;

function listen() {
  events?.close();
  heardAt = performance.now();
  const source = (events = new EventSource("/v1/events"));
  source.onmessage = ({ data }) => hear(JSON.parse(data));
  source.onerror = () => {
    if (source !== events) return;
    // Refused rather than cut off; the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => source === events && listen(), 3000);
    setLost();
  };
}

function hear(message) {
  heardAt = performance.now();
  if (lost) {
    lost = false;
    startStream();
  }
  if (message.status) {
    status = message.status;
    showStatus(status);
  }
  showState();
  if (message.observation) showObservation(message.observation);
}

function setLost() {
  lost = true;
  showState();
}

function showState() {
  const state = lost ? "lost" : status?.state ?? "starting";
  const words = { lost: "no connection", away: "camera away" };
  const banner = {
    lost: "No connection to the device; trying again …",
    away: "The camera is away; waiting for it to come back …",
    ended: "The source has ended.",
    starting: "Starting …",
  }[state];
  $("state").dataset.state = $("stage").dataset.state = state;
  setText($("state"), words[state] ?? state);
  $("banner").hidden = !banner;
  if (banner) setText($("banner"), banner);
  for (const card of $("faces").children) card.classList.toggle("stale", state !== "live");
}

setInterval(() => {
  if (events && performance.now() - heardAt > SILENT_MS && !lost) setLost();
}, 1000);

// ---- the picture ----

function startStream() {
  if (facesShown && document.visibilityState === "visible") $("stream").src = `/stream.mjpg?${Date.now()}`;
  else $("stream").removeAttribute("src");
}

$("stream").addEventListener("error", () => {
  if (!$("stream").hasAttribute("src")) return;
  $("stream").removeAttribute("src");
  setTimeout(startStream, 2000);
});

// What nobody looks at is not worth the board's time, nor one of the few connections that a browser opens to a host.
document.addEventListener("visibilitychange", () => {
  startStream();
  if (document.visibilityState === "visible") {
    listen();
    showTimeline();
  } else {
    events?.close();
    events = null;
  }
});

// ---- the faces ----

const cards = new Map();
let spokenAt = 0;
let spoken = "";

function showObservation({ faces }) {
  if (!facesShown) return;
  const seen = new Set();
  faces.forEach((face, at) => {
    const key = face.track_id ?? `at ${at}`;
    seen.add(key);
    if (!cards.has(key)) {
      cards.set(key, faceCard(face.track_id === null ? `face ${at + 1}` : `face ${face.track_id}`));
      $("faces").append(cards.get(key));
    }
    fillCard(cards.get(key), face);
  });
  for (const [key, card] of cards) {
    if (!seen.has(key)) {
      card.remove();
      cards.delete(key);
    }
  }
  $("nobody").hidden = faces.length > 0;
  speak(faces);
}

function speak(faces) {
  const said = faces.map((face) => face.label + (face.reason ? ` (${reasonOf(face)})` : "")).join(", ") || "no face in sight";
  const now = performance.now();
  if (said === spoken || now - spokenAt < 2000) return;
  spoken = said;
  spokenAt = now;
  $("spoken").textContent = said;
}

// ---- the last minutes ----

const SHORTEST_BIN_S = 5;

async function showTimeline() {
  if (document.visibilityState !== "visible") return;
  try {
    const answer = await fetch("/v1/timeline");
    if (answer.ok) drawTimeline(await answer.json());
  } catch {
    // The connection is lost; the page says so already.
  }
}

function drawTimeline({ now, span_s: span, step_s: step, steps }) {
  const binS = Math.max(step, SHORTEST_BIN_S);
  const count = span / binS;
  const bins = Array.from({ length: count }, () => ({}));
  const sums = {};
  // Bins stand still on the clock, else every bar would change its height all the time.
  const end = Math.ceil(now / binS) * binS;
  for (const { t, face_s: faceS } of steps) {
    const bin = bins[count - 1 - Math.floor((end - 1 - t) / binS)];
    for (const [label, s] of Object.entries(faceS)) {
      if (bin) bin[label] = (bin[label] ?? 0) + s;
      sums[label] = (sums[label] ?? 0) + s;
    }
  }
  paintBins(bins);
  const total = Object.values(sums).reduce((a, b) => a + b, 0);
  const shares = LABELS.filter((label) => sums[label] > 0).map((label) => [label, sums[label] / total]);
  $("legend").replaceChildren(...shares.map(legendItem));
  const whole = step > 1 ? "by the minute" : "by face-seconds";
  $("past-note").textContent = total ? `share of each label, ${whole}` : step > 1 ? "by the minute; none is full yet" : "nobody was seen";
  const text = shares.map(([label, share]) => `${label} ${percent(share)}`).join(", ") || "no faces";
  $("timeline").setAttribute("aria-label", `Share of the labels over the last five minutes: ${text}`);
}

function paintBins(bins) {
  const canvas = $("timeline");
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const paint = canvas.getContext("2d");
  paint.clearRect(0, 0, width, height);
  bins.forEach((bin, at) => {
    const sum = Object.values(bin).reduce((a, b) => a + b, 0);
    const [left, right] = [at, at + 1].map((x) => Math.round((x * width) / bins.length));
    let top = height;
    for (const label of LABELS) {
      if (!sum || !bin[label]) continue;
      const tall = (bin[label] / sum) * height;
      paint.fillStyle = colour(label);
      paint.fillRect(left, top - tall, right - left - ratio, tall);
      top -= tall;
    }
  });
}

function legendItem([label, share]) {
  const item = document.createElement("li");
  const dot = document.createElement("i");
  const part = document.createElement("span");
  dot.style.background = colour(label);
  part.textContent = percent(share);
  item.append(dot, `${label} `, part);
  return item;
}

// ---- a photo ----

async function sendPhoto(file) {
  $("photo-result").hidden = true;
  if (file.size > MAX_BYTES) return saySorry("the photo is larger than 10 MB; send a smaller one");
  say("Looking …");
  try {
    const answer = await fetch("/v1/predict", { method: "POST", body: file });
    const result = await answer.json();
    if (answer.ok) await showPhoto(file, result);
    else saySorry(result.error);
  } catch {
    saySorry("The device did not answer; try again.");
  }
}

async function showPhoto(file, result) {
  const picture = await createImageBitmap(file);
  drawFaces($("photo-canvas"), picture, result);
  const shown = result.faces.map((face, at) => fillCard(faceCard(`face ${at + 1}`), face));
  $("photo-faces").replaceChildren(...shown);
  $("photo-result").hidden = false;
  const labels = result.faces.map((face) => face.label).join(", ");
  const count = result.faces.length;
  say(count ? `${count} face${count > 1 ? "s" : ""}: ${labels} (${Math.round(result.ms)} ms)` : "No face was found in it.");
}

function say(text) {
  $("photo-said").className = "";
  $("photo-said").textContent = text;
}

function saySorry(text) {
  $("photo-said").className = "bad";
  $("photo-said").textContent = text.charAt(0).toUpperCase() + text.slice(1);
}

$("file").addEventListener("change", () => {
  if ($("file").files.length) sendPhoto($("file").files[0]);
  $("file").value = ""; // so that the same photo can be sent again
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!facesShown || ![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) sendPhoto(event.dataTransfer.files[0]);
  });
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // else a screen reader says it again
}

setText($("source"), DASH);
showState();
startStream();
listen();
showTimeline();
setInterval(showTimeline, 2500);
addEventListener("resize", showTimeline);
