// How a face is shown: its seven bars, and its box on a photo.

export const DASH = "–";
export const EMOTIONS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"];
export const LABELS = [...EMOTIONS, "uncertain"];

const REASONS = { small: "face too small", dark: "too dark", blurred: "blurred", unsure: "no clear favourite" };

export const colour = (label) => getComputedStyle(document.documentElement).getPropertyValue(`--${label}`).trim();
export const percent = (share) => `${Math.round(100 * share)} %`;
export const reasonOf = (face) => REASONS[face.reason] ?? face.reason;

/** An empty card with a bar for each emotion. */
export function faceCard(who) {
  const card = document.createElement("div");
  card.className = "face";
  const title = document.createElement("h3");
  title.append(element("i"), element("span", "label"), element("span", "why"), element("span", "who", who));
  card.append(title, ...EMOTIONS.map(bar));
  return card;
}

/** Puts what is said of a face into its card. */
export function fillCard(card, face) {
  const sure = face.reason === null;
  card.querySelector("i").style.background = colour(face.label);
  card.querySelector(".label").textContent = face.label;
  card.querySelector(".why").textContent = sure ? percent(face.confidence) : reasonOf(face);
  for (const row of card.querySelectorAll(".bar")) {
    const share = face.probabilities[row.dataset.emotion];
    row.querySelector("b").style.transform = `scaleX(${share})`;
    row.lastChild.textContent = percent(share);
    row.classList.toggle("top", row.dataset.emotion === face.label);
  }
  return card;
}

/** Draws a photo and its boxes; `result` is the answer of /v1/predict. */
export function drawFaces(canvas, picture, { width, height, faces }) {
  const scale = Math.min(1, 1280 / width, 960 / height);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const paint = canvas.getContext("2d");
  paint.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const size = Math.max(13, Math.round(canvas.width / 48));
  paint.font = `600 ${size}px system-ui, sans-serif`;
  paint.lineWidth = Math.max(2, size / 7);
  for (const face of faces) drawFace(paint, face, scale, size);
}

function drawFace(paint, face, scale, size) {
  const [x0, y0, x1, y1] = face.box_xyxy.map((side) => side * scale);
  const text = face.reason === null ? `${face.label} ${percent(face.confidence)}` : face.label;
  const wide = paint.measureText(text).width + size;
  const left = Math.max(0, Math.min(x0, paint.canvas.width - wide));
  const top = y0 >= 1.5 * size ? y0 - 1.5 * size : Math.min(y1, paint.canvas.height - 1.5 * size);
  paint.strokeStyle = paint.fillStyle = colour(face.label);
  paint.strokeRect(x0, y0, x1 - x0, y1 - y0);
  paint.fillRect(left, top, wide, 1.5 * size);
  paint.fillStyle = "#141414";
  paint.fillText(text, left + size / 2, top + 1.1 * size);
}

function bar(emotion) {
  const row = element("div", "bar");
  const rail = element("div", "rail");
  const fill = element("b");
  row.dataset.emotion = emotion;
  fill.style.background = `var(--${emotion})`;
  rail.append(fill);
  rail.setAttribute("aria-hidden", "true");
  row.append(element("span", "", emotion), rail, element("span", "", DASH));
  return row;
}

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
