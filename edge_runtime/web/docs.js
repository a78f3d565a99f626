// Lists the routes out of /openapi.json, each with a line for the shell.

const EXTRA = { "/stream.mjpg": " --output -", "/v1/events": " --no-buffer", "/v1/predict": " -F photo=@face.jpg" };

function line(path) {
  return `curl${EXTRA[path] ?? ""} -H "Authorization: Bearer $TOKEN" ${location.origin}${path}`;
}

function route(path, method, { summary, parameters = [] }) {
  const section = document.createElement("section");
  const title = document.createElement("h2");
  const text = document.createElement("p");
  const code = document.createElement("pre");
  section.className = "card";
  title.textContent = `${method.toUpperCase()} ${path}`;
  text.className = "soft";
  text.textContent = [summary, ...parameters.map((p) => `?${p.name}: ${p.description ?? ""}`)].join(". ");
  code.textContent = line(path);
  code.tabIndex = 0;
  section.append(title, text, code);
  return section;
}

const answer = await fetch("/openapi.json");
const { paths } = await answer.json();
for (const [path, methods] of Object.entries(paths))
  for (const [method, about] of Object.entries(methods)) document.getElementById("routes").append(route(path, method, about));
