// What a reader would stumble over in the page as it is laid out now, told as [subject, what is wrong] pairs.
// Run by tests/support/browser.py; arguments[0]: which checks ("layout", "content", "contrast", "paper").
"use strict";
const wanted = new Set(arguments[0]);
const found = [];
const MOST_OF_A_KIND = 20;
const told = new Map();
function tell(kind, subject, text) {
  const key = kind + subject;
  if (told.has(key)) return;
  told.set(key, true);
  found.push([kind, subject + ": " + text]);
}
const width = document.documentElement.clientWidth;
const styles = new Map();
function style(element) {
  if (!styles.has(element)) styles.set(element, getComputedStyle(element));
  return styles.get(element);
}
const short = (text) => { const one = text.replace(/\s+/g, " ").trim(); return one.length > 60 ? one.slice(0, 57) + "..." : one; };
function place(element) {
  const path = [];
  for (let at = element; at && at !== document.body && path.length < 4; at = at.parentElement) {
    path.unshift(at.localName + (at.id ? "#" + at.id : at.classList.length ? "." + at.classList[0] : ""));
  }
  return path.join(" > ");
}

// Text is hidden on purpose when it is clipped to nothing (for screen readers) or not rendered at all.
const hidden = new Map();
function hiddenOnPurpose(element) {
  if (element === null || element === document.documentElement) return false;
  if (hidden.has(element)) return hidden.get(element);
  const own = style(element);
  let answer = own.display === "none" || own.visibility === "hidden" || Number(own.opacity) === 0;
  if (!answer && own.position === "absolute") {
    const box = element.getBoundingClientRect();
    answer = (own.clipPath !== "none" || own.clip !== "auto" || own.overflow === "hidden") && box.width <= 2 && box.height <= 2;
  }
  answer = answer || hiddenOnPurpose(element.parentElement);
  hidden.set(element, answer);
  return answer;
}

// The box that an element's content is cut to: by scrolling (the reader gets the rest) or for good.
function cuttersOf(element) {
  const cutters = [];
  for (let at = element; at && at !== document.body && at !== document.documentElement; at = at.parentElement) {
    const own = style(at);
    const isSvg = at.localName === "svg";
    if (at.ownerSVGElement) continue;
    if (!isSvg && own.display === "inline") continue;
    const x = own.overflowX, y = own.overflowY;
    if (x !== "visible" || y !== "visible") {
      const scrolls = !isSvg && (x === "auto" || x === "scroll" || y === "auto" || y === "scroll");
      cutters.push({ element: at, scrolls: scrolls, box: at.getBoundingClientRect() });
    }
  }
  return cutters;
}

const pieces = [];  // one per line of each text node: {node, element, text, left, top, right, bottom}
function collect() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.data.trim()) continue;
    const element = node.parentElement;
    const name = element.localName;
    if (name === "script" || name === "style" || name === "title" || name === "desc" || name === "metadata") continue;
    if (hiddenOnPurpose(element)) continue;
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 0.5 && box.height > 0.5);
    if (!boxes.length) continue;
    const cutters = cuttersOf(element);
    for (const box of boxes) {
      pieces.push({ node, element, cutters, text: node.data, svg: Boolean(element.ownerSVGElement),
        left: box.left, top: box.top + scrollY, right: box.right, bottom: box.bottom + scrollY });
    }
  }
}

function checkPlaces() {
  if (document.documentElement.scrollWidth > width + 1) {
    tell("sideways", "page", "scrolls sideways, " + document.documentElement.scrollWidth + " px wide in " + width);
  }
  for (const piece of pieces) {
    let left = piece.left, right = piece.right, scrolled = false;
    for (const cutter of piece.cutters) {
      const box = cutter.box;
      if (cutter.scrolls) {
        scrolled = true;
        if (box.left < -1 || box.right > width + 1) tell("off-screen", place(cutter.element), "a scrolling box leaves the page");
      } else if (!scrolled && (left < box.left - 2 || right > box.right + 2 || piece.top - scrollY < box.top - 3 || piece.bottom - scrollY > box.bottom + 3)) {
        tell("cut off", place(piece.element), "“" + short(piece.text) + "” is cut off by " + place(cutter.element));
      }
    }
    if (!scrolled && (left < -1 || right > width + 1)) {
      tell("off-screen", place(piece.element), "“" + short(piece.text) + "” leaves the page (" + Math.round(left) + " to " + Math.round(right) + " of " + width + ")");
    }
    if (piece.top < -1) tell("off-screen", place(piece.element), "“" + short(piece.text) + "” begins above the page");
  }
  for (const element of document.querySelectorAll("img, svg, table, pre, figure, video, canvas")) {
    if (hiddenOnPurpose(element) || element.ownerSVGElement) continue;
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    if (cuttersOf(element.parentElement).some((cutter) => cutter.scrolls)) continue;
    if (box.left < -1 || box.right > width + 1) tell("off-screen", place(element), "leaves the page (" + Math.round(box.left) + " to " + Math.round(box.right) + " of " + width + ")");
  }
}

// Letters rarely fill the line box: two pieces overlap when what is between ascender and baseline does.
function checkOverlaps() {
  const seen = [];
  for (const piece of pieces) {
    const box = { piece, left: piece.left, right: piece.right, top: piece.top, bottom: piece.bottom };
    const trim = 0.18 * (box.bottom - box.top);
    box.top += trim; box.bottom -= trim;
    for (const cutter of piece.cutters) {
      box.left = Math.max(box.left, cutter.box.left); box.right = Math.min(box.right, cutter.box.right);
      box.top = Math.max(box.top, cutter.box.top + scrollY); box.bottom = Math.min(box.bottom, cutter.box.bottom + scrollY);
    }
    if (box.right - box.left > 1 && box.bottom - box.top > 1) seen.push(box);
  }
  seen.sort((a, b) => a.top - b.top);
  for (let one = 0; one < seen.length; one++) {
    const a = seen[one];
    for (let two = one + 1; two < seen.length && seen[two].top < a.bottom - 1.5; two++) {
      const b = seen[two];
      if (a.piece.node === b.piece.node) continue;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - b.top;
      if (across > 1.5 && down > 1.5) {
        tell("overlap", place(a.piece.element), "“" + short(a.piece.text) + "” and “" + short(b.piece.text) + "” (" + place(b.piece.element) + ") overlap by " + across.toFixed(1) + " x " + down.toFixed(1) + " px");
      }
    }
  }
}

// What lies over the middle of a text and is not part of it. Needs a window as high as the page.
function checkCovered() {
  for (const piece of pieces) {
    const x = (piece.left + piece.right) / 2, y = (piece.top + piece.bottom) / 2 - scrollY;
    if (x < 0 || x >= width || y < 0 || y >= innerHeight) continue;
    if (piece.cutters.some((cutter) => x < cutter.box.left || x > cutter.box.right || y < cutter.box.top || y > cutter.box.bottom)) continue;
    const over = document.elementFromPoint(x, y);
    if (!over || over === piece.element || over.contains(piece.element) || piece.element.contains(over)) continue;
    if (style(piece.element).pointerEvents === "none") continue;
    tell("covered", place(piece.element), "“" + short(piece.text) + "” lies under " + place(over));
  }
}

function checkSmallText() {
  for (const piece of pieces) {
    const size = parseFloat(style(piece.element).fontSize);
    let scale = 1;
    if (piece.svg) { const matrix = piece.element.getScreenCTM && piece.element.getScreenCTM(); if (matrix) scale = Math.hypot(matrix.a, matrix.b); }
    if (size * scale < 8.5) tell("tiny", place(piece.element), "“" + short(piece.text) + "” is " + (size * scale).toFixed(1) + " px high");
  }
}

const GARBAGE = [/\{\{|\}\}|\{%|%\}|\{#/, /\bNone\b(?! (of|is|was|are|were|left))/, /\bnan\b|\bNaN\b/, /\bundefined\b/, /\[object /, /Markup\(/, /<(?:built-in|function|bound|[\w.]+ object at 0x)/, /\binf\b/, /�/];
function checkContent() {
  const ids = new Map();
  for (const element of document.querySelectorAll("[id]")) {
    ids.set(element.id, (ids.get(element.id) || 0) + 1);
  }
  for (const [id, times] of ids) if (times > 1) tell("duplicate id", "#" + id, times + " times");
  const known = (id) => id === "" || id === "top" || ids.has(id);
  for (const anchor of document.querySelectorAll("a")) {
    const href = anchor.getAttribute("href");
    const words = short(anchor.textContent || anchor.getAttribute("aria-label") || "");
    if (href === null || href.trim() === "" || href.trim() === "#") tell("dead link", place(anchor), "“" + words + "” leads nowhere");
    else if (href.startsWith("#") && !known(decodeURIComponent(href.slice(1)))) tell("dead link", href, "“" + words + "” leads to no element");
    if (!words && !anchor.querySelector("img[alt], svg")) tell("dead link", place(anchor), "a link without words");
  }
  for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls", "for", "headers"]) {
    for (const element of document.querySelectorAll("[" + attribute + "]")) {
      for (const id of element.getAttribute(attribute).split(/\s+/)) if (id && !ids.has(id)) tell("dead reference", place(element), attribute + " names #" + id + ", which is not there");
    }
  }
  for (const element of document.querySelectorAll("use")) {
    const href = element.getAttribute("href") || element.getAttribute("xlink:href") || "";
    if (href.startsWith("#") && !ids.has(href.slice(1))) tell("dead reference", place(element), "uses " + href + ", which is not there");
  }
  for (const element of document.querySelectorAll("svg *")) {
    for (const name of ["fill", "clipPath", "markerEnd", "markerStart", "mask"]) {
      const match = /url\("?#([^")]+)"?\)/.exec(style(element)[name] || "");
      if (match && !ids.has(match[1])) tell("dead reference", place(element), name + " names #" + match[1] + ", which is not there");
    }
  }
  for (const image of document.querySelectorAll("img")) {
    if (!image.complete || !image.naturalWidth) tell("broken image", image.getAttribute("src") || place(image), "does not load");
    if (!image.hasAttribute("alt")) tell("without words", place(image), "an image without alt");
  }
  for (const element of document.querySelectorAll("main, section, article, figure, figcaption, table, tbody, caption, details, summary, ul, ol, dl, dt, h1, h2, h3, h4, th, option, pre")) {
    const shows = element.textContent.trim() || element.querySelector("svg, img, input");
    if (!shows) tell("empty", place(element), "has no content");
  }
  for (const section of document.querySelectorAll("section")) {
    const rest = [...section.childNodes].filter((node) => !/^H[1-6]$/.test(node.nodeName) && (node.textContent.trim() || (node.querySelector && node.querySelector("svg, img"))));
    if (!rest.length) tell("empty", place(section), "is a heading only: “" + short(section.textContent) + "”");
  }
  for (const table of document.querySelectorAll("table")) {
    const caption = table.querySelector(":scope > caption");
    const name = place(table);
    if (!caption || !caption.textContent.trim()) tell("table", name, "has no caption (“" + short(table.textContent) + "”)");
    const heads = table.querySelectorAll("th");
    if (!heads.length) tell("table", name, "has no header cells");
    for (const head of heads) if (!head.getAttribute("scope")) tell("table", name, "header “" + short(head.textContent) + "” has no scope");
    if (!table.querySelector("tbody td, tbody th")) tell("table", name, "has no rows");
  }
  for (const svg of document.querySelectorAll("svg")) {
    if (svg.parentElement && svg.parentElement.closest("svg")) continue;
    if (svg.getAttribute("role") === "img") {
      const part = (tag) => { const child = svg.querySelector(":scope > " + tag); return child && child.textContent.trim(); };
      if (!part("title")) tell("without words", place(svg), "an image (SVG) without title");
      if (!part("desc")) tell("without words", place(svg), "an image (SVG) without desc: “" + short(part("title") || "") + "”");
    } else if (!svg.closest("[aria-hidden=true]")) {
      tell("without words", place(svg), "an SVG that is neither role=img nor aria-hidden");
    }
  }
  const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((head) => [Number(head.localName[1]), head]);
  if (levels.filter((pair) => pair[0] === 1).length !== 1) tell("headings", "page", "needs exactly one h1");
  for (let at = 1; at < levels.length; at++) {
    if (levels[at][0] > levels[at - 1][0] + 1) tell("headings", place(levels[at][1]), "“" + short(levels[at][1].textContent) + "” skips a level");
  }
  if (!document.documentElement.lang) tell("head", "page", "has no language");
  if (!document.title.trim()) tell("head", "page", "has no title");
  if (!document.querySelector("meta[name=viewport]")) tell("head", "page", "has no viewport");
  const texts = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const name = node.parentElement.localName;
    if (name === "style" || name === "script" || node.parentElement.closest("pre, code")) continue;
    for (const pattern of GARBAGE) if (pattern.test(node.data)) tell("garbage", place(node.parentElement), "“" + short(node.data) + "”");
  }
  for (const element of document.querySelectorAll("[title], [aria-label], [alt], [data-head]")) {
    for (const name of ["title", "aria-label", "alt", "data-head"]) {
      const value = element.getAttribute(name) || "";
      for (const pattern of GARBAGE) if (pattern.test(value)) tell("garbage", place(element), name + " “" + short(value) + "”");
    }
  }
}

// WCAG 2.1, 1.4.3: relative luminance and contrast ratio.
function parse(colour) {
  const srgb = /^color\(srgb ([^)]*)\)/.exec(colour);
  const numbers = (srgb ? srgb[1] : colour).match(/[\d.]+(?:e-?\d+)?/g);
  if (!numbers || colour === "none" || colour === "transparent") return [0, 0, 0, 0];
  const scale = srgb ? 255 : 1;
  return [numbers[0] * scale, numbers[1] * scale, numbers[2] * scale, numbers.length > 3 ? Number(numbers[3]) : 1];
}
const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat([1]);
function luminance(colour) {
  const [r, g, b] = colour.map((part) => { const v = part / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(a, b) { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); }
const backs = new Map();
function background(element, canvas) {
  if (element === null) return canvas;
  if (backs.has(element)) return backs.get(element);
  const below = background(element.parentElement, canvas);
  const answer = element.ownerSVGElement || wanted.has("paper") ? below : over(parse(style(element).backgroundColor), below);
  backs.set(element, answer);
  return answer;
}
function opacity(element) {
  let answer = 1;
  for (let at = element; at; at = at.parentElement) answer *= Number(style(at).opacity);
  return answer;
}
// What is drawn under a label inside an SVG: the last shape before it that is filled and holds its middle.
function shapesUnder(element) {
  if (!element.ownerSVGElement) return [];
  const box = element.getBoundingClientRect();
  const x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
  const under = [];
  for (const shape of element.ownerSVGElement.querySelectorAll("rect, circle, ellipse")) {
    if (!(shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
    if (shape.closest("defs, pattern, clipPath, marker, symbol")) continue;
    const area = shape.getBoundingClientRect();
    if (area.left > x || area.right < x || area.top > y || area.bottom < y) continue;
    const own = style(shape), fill = own.fill;
    if (fill === "none" || fill.startsWith("url(")) continue;
    const colour = parse(fill);
    colour[3] *= Number(own.fillOpacity) * opacity(shape);
    under.push(colour);
  }
  return under;
}
function checkContrast() {
  const done = new Set();
  // A dark page's canvas is dark, too: what the browser paints below everything.
  const dark = matchMedia("(prefers-color-scheme: dark)").matches && /dark/.test(style(document.documentElement).colorScheme);
  const canvas = dark && !wanted.has("paper") ? [18, 18, 18, 1] : [255, 255, 255, 1];
  for (const piece of pieces) {
    if (done.has(piece.element)) continue;
    done.add(piece.element);
    const own = style(piece.element);
    let back = background(piece.element, canvas);
    for (const shape of shapesUnder(piece.element)) back = over(shape, back);
    if (!piece.svg && own.backgroundImage !== "none") continue;
    const ink = parse(piece.svg ? own.fill : own.color);
    ink[3] *= opacity(piece.element) * (piece.svg ? Number(own.fillOpacity) : 1);
    const ratio = contrast(over(ink, back), back);
    const size = parseFloat(own.fontSize), bold = Number(own.fontWeight) >= 700;
    const needed = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    if (ratio < needed - 0.005) tell("contrast", place(piece.element), "“" + short(piece.text) + "” has " + ratio.toFixed(2) + ":1, needs " + needed + ":1");
  }
}

collect();
if (!pieces.length) tell("empty", "page", "shows no text at all");
if (wanted.has("layout")) { checkPlaces(); checkOverlaps(); checkCovered(); checkSmallText(); }
if (wanted.has("content")) checkContent();
if (wanted.has("contrast")) checkContrast();
const kept = [], counts = {};
for (const [kind, text] of found) {
  counts[kind] = (counts[kind] || 0) + 1;
  if (counts[kind] <= MOST_OF_A_KIND) kept.push(kind + ": " + text);
}
for (const kind of Object.keys(counts)) if (counts[kind] > MOST_OF_A_KIND) kept.push(kind + ": and " + (counts[kind] - MOST_OF_A_KIND) + " more");
return kept;
