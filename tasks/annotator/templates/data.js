"use strict";
// What the page is about, and how an element is made: text is set as text, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const IMAGES = new Map(DATA.groups.flatMap((group) => group.images).map((image) => [image.image_id, image]));
const CLASSES = new Map(DATA.classes.map((one) => [one.name, one]));

const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function say(text, stays = false) {
  byId("status").textContent = text;
  clearTimeout(say.timer);
  if (!stays) say.timer = setTimeout(() => { byId("status").textContent = ""; }, 6000);
}
